"""The context of every verb: directories, store, drivers and progress, opened on first use and closed once."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from pyro_mcp.host.closing import Closing
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress, Silent
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.clock import Clock, system_clock
from pyro_mcp.state.reconcile import reconcile, restore_workspaces
from pyro_mcp.state.reserve import give_up_piece, make_room_to_open, take_reserve
from pyro_mcp.state.store import Store
from pyro_mcp.workspace.drivers import Drivers, InstalledDrivers


class Engine(Closing):
    """Everything that verbs share, for one set of directories. A context manager; thread-safe.

    Notices that are not part of a result (a database replaced, a template rebuilt) go to `progress`.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        progress: Progress | None = None,
        clock: Clock | None = None,
        drivers: Drivers | None = None,
    ) -> None:
        self.paths = paths
        self.progress: Progress = Silent() if progress is None else progress
        self.clock = system_clock() if clock is None else clock
        self.drivers: Drivers = InstalledDrivers(paths, self.progress) if drivers is None else drivers
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._uses_reserve = False

    @property
    def store(self) -> Store:
        """Return the state store, opened on first use."""
        with self._opening:
            if self._store is None:
                if self._uses_reserve:
                    make_room_to_open(self.paths)
                self._store = Store(self.paths, self.notice)
                self._store.database.make_room = lambda: self._uses_reserve and give_up_piece(self.paths)
            return self._store

    def use_reserve(self) -> None:
        """Release part of the reserved space if the disk is full, for verbs that must work even then."""
        self._uses_reserve = True

    def notice(self, text: str) -> None:
        """Report something that is not part of the result."""
        self.progress.phase("notice", text)

    def reconcile(self) -> list[str]:
        """Reconcile the store with what runs; return the ids of deleted VMs.

        Raises:
            PyroError: the store can't be used.
        """
        deleted = reconcile(self.store, self.paths, self.clock, self.notice, self._watch)
        with suppress(FileNotFoundError):
            if os.listdir(self.paths.exports):
                from pyro_mcp.trees.staging import sweep_noted

                sweep_noted(self.paths.exports)
        return deleted

    def restore_workspaces(self) -> None:
        """Restore unreadable workspace records from their copies.

        Raises:
            PyroError: the store can't be used.
        """
        restore_workspaces(self.store, self.paths, self.clock, self.notice, self._watch)

    def _watch(self, workspace: Workspace, vm: Vm) -> None:
        from pyro_mcp.workspace.ttl import watch_again

        watch_again(self.paths, self.store, self.clock, workspace, vm)

    def close(self) -> None:
        """Close everything that was opened. Idempotent."""
        store, self._store = self._store, None
        if store is not None:
            store.close()
            take_reserve(self.paths)
