"""Delete a workspace in any state, with everything that belongs to it.

An interrupted deletion can be repeated, and concurrent deletions all succeed. The wait for another process is bounded.
"""

from __future__ import annotations

from pyro_mcp.state.discard import discard_workspace
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import find_workspace


def delete_workspace(engine: Engine, handle: str) -> None:
    """Delete a workspace. If another process deletes it at the same time, both succeed.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; TIMEOUT if a process of it survives SIGKILL.
    """
    engine.use_reserve()
    workspace_id = find_workspace(engine, handle).id
    engine.reconcile()
    try:
        _delete(engine, workspace_id)
    except KeyboardInterrupt:
        # A partial deletion helps nobody: the interrupt is raised afterwards.
        _delete(engine, workspace_id)
        raise


def _delete(engine: Engine, workspace_id: str) -> None:
    with workspace_lock(engine.paths, workspace_id):
        workspace = engine.store.workspaces.find(workspace_id)
        if workspace is not None:
            discard_workspace(engine.store, engine.paths, workspace)
