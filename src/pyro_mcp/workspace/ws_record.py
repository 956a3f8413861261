"""A workspace's record beside its disks.

Owns when it may fail. Refuses to keep a verb from succeeding: it is only of use if the database is lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.state.copies import write_workspace_copy
from pyro_mcp.state.filenames import WorkspaceFiles

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine


def copy_record(engine: Engine, workspace: Workspace) -> None:
    """Write the copy of a workspace's record as it is now."""
    with suppress(PyroError):
        snapshots = engine.store.workspaces.snapshots(workspace.id)
        write_workspace_copy(WorkspaceFiles(engine.paths, workspace.id), workspace, snapshots)
