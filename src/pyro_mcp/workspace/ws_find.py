"""Finding a workspace by what a person calls it: its id, its name, or the beginning of its id.

Owns that one way for all verbs. Refuses to guess between several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine


def find_workspace(engine: Engine, handle: str) -> Workspace:
    """Return a workspace as the store has it; whether that is still so is for `status_workspace` to say.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if several ids begin like that, saying which.
    """
    try:
        return engine.store.workspaces.lookup(handle)
    except PyroError as error:
        if error.code is not ErrorCode.CORRUPT:
            raise
    engine.mend_workspaces()
    return engine.store.workspaces.lookup(handle)
