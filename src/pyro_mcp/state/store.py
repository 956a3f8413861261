"""The state store: the VMs and workspaces of this user, shared by all processes, with their owning processes.

It only stores records: `reconcile` acts on machines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.host.closing import Closing
from pyro_mcp.host.process.identity import ProcessIdentity
from pyro_mcp.model.vm import Owner
from pyro_mcp.state.database import Database
from pyro_mcp.state.vms import VmTable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.state.workspaces import WorkspaceTable

# The columns that show whether a workspace needs anything.
_GLANCE = (
    "SELECT id, state, vm_id, boot_id, deadline_boottime_s, owner_pid, owner_start_time, owner_boot_id FROM workspaces"
)


class Store(Closing):
    """The open state store. A context manager."""

    def __init__(self, paths: Paths, notice: Callable[[str], None]) -> None:
        #: Also used by the tables of other modules.
        self.database = Database(paths.database, notice)
        self.vms = VmTable(self.database)
        self._workspaces: WorkspaceTable | None = None

    @property
    def workspaces(self) -> WorkspaceTable:
        """Return the workspaces' table, loaded on first use, since one-shot VMs don't need it."""
        if self._workspaces is None:
            from pyro_mcp.state.workspaces import WorkspaceTable

            self._workspaces = WorkspaceTable(self.database)
        return self._workspaces

    def attention_rows(self) -> list[sqlite3.Row]:
        """Return the columns of each workspace that show whether it needs anything."""
        return self.database.rows(_GLANCE)

    def is_claimed(self, vm_id: str) -> bool:
        """Return whether a workspace claims this VM."""
        return bool(self.database.rows("SELECT 1 FROM workspaces WHERE vm_id = ?", vm_id))

    def close(self) -> None:
        """Close the database. May be called repeatedly."""
        self.database.close()

    def refresh(self) -> None:
        """Reopen the database if another process has replaced it."""
        self.database.refresh()


def this_process() -> Owner:
    """Return this process as an owner."""
    identity = ProcessIdentity.of(os.getpid())
    if identity is None:
        # /proc is not mounted, or hides this process: other processes can't determine whether it is alive.
        return Owner(os.getpid(), 0, "")
    return Owner(identity.pid, identity.start_time, identity.boot_id)


def is_alive(owner: Owner) -> bool:
    """Return whether the owner's process is still running, in this boot."""
    return ProcessIdentity(owner.pid, owner.start_time, owner.boot_id).is_running()
