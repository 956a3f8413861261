"""Listing the shells of a workspace.

Owns what is said where nothing runs: there are none. Refuses to start a workspace for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.sh_guest import WITHOUT_SHELLS, shells_of
from pyro_mcp.workspace.ws_find import find_workspace

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellInfo
    from pyro_mcp.workspace.engine import Engine


def list_shells(engine: Engine, handle: str) -> tuple[str, tuple[ShellInfo, ...]]:
    """Return the workspace's id and its shells, the oldest first.

    Raises:
        PyroError: NOT_FOUND; as `guest_of`.
    """
    workspace = find_workspace(engine, handle)
    if workspace.state in WITHOUT_SHELLS:
        return workspace.id, ()
    with shells_of(engine, workspace.id, activity=False) as use:
        return workspace.id, use.shells.list()
