"""A machine that QEMU runs.

Owns what only QEMU can be asked for. Refuses to wait for a monitor that does not answer longer than it is told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host.sockets import connect_unix
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.vmm.machine import KeptMachine
from pyro_mcp.vmm.qemu.qmp import QmpClient

if TYPE_CHECKING:
    from pyro_mcp.model.machine import MachineRecord

MONITOR = "qmp"


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

    def _ask_to_quit(self, timeout_s: float) -> bool:
        deadline = Deadline(timeout_s, "QEMU to take the command to quit")
        try:
            with self.monitor(deadline) as client:
                client.quit(deadline)
        except PyroError:
            # Stopped, stuck or gone: the next step of the ladder does not ask.
            return False
        return True
