"""Using the shells of a workspace's guest.

Owns that nothing is started only to find that its shells are gone. Refuses to know what is asked of a shell.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.agent.shells import GuestShells
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.ws_find import find_workspace

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.agent import CancelToken
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.guest import GuestUse

#: In these no guest runs, and so no shell.
WITHOUT_SHELLS = {WorkspaceState.STOPPED, WorkspaceState.FAILED}


@dataclass(frozen=True, slots=True)
class ShellsUse:
    """The shells of a running guest."""

    guest: GuestUse
    shells: GuestShells

    @property
    def workspace(self) -> Workspace:
        """Return whose guest it is."""
        return self.guest.workspace


@contextmanager
def shells_of(
    engine: Engine, handle: str, *, activity: bool, starts: bool = False, cancel: CancelToken | None = None
) -> Generator[ShellsUse]:
    """Yield the shells of a workspace. With `activity`, the use renews its time to live.

    Raises:
        PyroError: NOT_FOUND, also if the workspace does not run and is not to be started; as `guest_of`.
    """
    workspace = find_workspace(engine, handle)
    if not starts and workspace.state in WITHOUT_SHELLS:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the workspace {workspace.title} is {workspace.state.value}, and its shells are gone",
            hint="Open one: that starts the workspace.",
            details={"workspace_id": workspace.id},
        )
    with guest_of(engine, workspace.id, activity=activity) as guest, guest.session() as session:
        yield ShellsUse(guest, GuestShells(session, cancel=cancel))
