"""The state store: what this user's VMs are, agreed on by all processes.

Owns the database and its tables, and which process is working on what. Refuses to act on the machine: `reconcile`
does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.host.process.identity import ProcessIdentity
from pyro_mcp.model.vm import Owner
from pyro_mcp.state.database import Database
from pyro_mcp.state.vm_table import VmTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from pyro_mcp.host.paths import Paths


class Store:
    """The open state store. A context manager."""

    def __init__(self, paths: Paths, notice: Callable[[str], None]) -> None:
        self._database = Database(paths.database, notice)
        self.vms = VmTable(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; may be called again."""
        self._database.close()

    def refresh(self) -> None:
        """Follow the database if another process has replaced it."""
        self._database.refresh()


def this_process() -> Owner:
    """Return this process as an owner."""
    identity = ProcessIdentity.of(os.getpid())
    if identity is None:
        # /proc is not mounted, or hides even ourselves: nobody could tell that we live.
        return Owner(os.getpid(), 0, "")
    return Owner(identity.pid, identity.start_time, identity.boot_id)


def is_alive(owner: Owner) -> bool:
    """Say whether the owner's process still runs: that very one, in this boot."""
    return ProcessIdentity(owner.pid, owner.start_time, owner.boot_id).is_running()
