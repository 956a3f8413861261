"""A machine that QEMU runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from pyro_mcp.errors import PyroError
from pyro_mcp.host.sockets import connect_unix
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.machine import KeptMachine
from pyro_mcp.vmm.qemu.qmp import Message, QmpClient

MONITOR = "qmp"
# QEMU serves one connection at a time, and another process may have it.
MONITOR_TIMEOUT_S = 2.0
# What `query-status` reports after a write that failed with ENOSPC (QEMU's `werror=enospc`, the default).
_IO_ERROR = "io-error"


class QemuMachine(KeptMachine):
    """A running, or ended, QEMU and its keeper.

    One that is to become a template has its memory in a file of this process's, which only the process that booted it
    can save: written straight to a disk's file system, each page that the guest touches first would cost a boot more.
    """

    def __init__(self, record: MachineRecord) -> None:
        super().__init__(record)
        self.memory_fd = -1

    def kill(self) -> None:
        """End everything that belongs to the machine, at once."""
        try:
            super().kill()
        finally:
            self.close()

    def close(self) -> None:
        """Give back the memory, if this process has it."""
        fd, self.memory_fd = self.memory_fd, -1
        if fd >= 0:
            os.close(fd)

    def monitor(self, deadline: Deadline) -> QmpClient:
        """Connect to the monitor. The caller closes the connection.

        Raises:
            PyroError: UNAVAILABLE or GUEST_LOST if QEMU has ended; TIMEOUT.
        """
        client = QmpClient(connect_unix(Path(self.record.runtime_dir) / MONITOR, deadline.remaining_s()))
        try:
            client.negotiate(deadline)
        except BaseException:
            client.close()
            raise
        return client

    def is_paused_on_error(self) -> bool:
        """Return whether QEMU paused the guest because the host refused a write: its disk is full."""
        return self._status() == _IO_ERROR

    def resume(self) -> bool:
        """Continue a guest that is paused on an error; return whether it runs. The writes that failed are repeated.

        Where there is still no room, it is paused again at once.
        """
        deadline = Deadline(MONITOR_TIMEOUT_S, "QEMU to continue the guest")
        try:
            with self.monitor(deadline) as client:
                client.execute("cont", deadline)
        except PyroError:
            return False
        return self._status() == "running"

    def _status(self) -> str:
        deadline = Deadline(MONITOR_TIMEOUT_S, "QEMU to say what the guest does")
        try:
            with self.monitor(deadline) as client:
                answer = client.execute("query-status", deadline)
        except PyroError:
            return ""
        return str(cast("Message", answer)["status"])

    def _ask_to_quit(self, timeout_s: float) -> bool:
        deadline = Deadline(timeout_s, "QEMU to take the command to quit")
        try:
            with self.monitor(deadline) as client:
                client.quit(deadline)
        except PyroError:
            # Stopped, stuck or gone: the next step of the ladder does not ask.
            return False
        return True
