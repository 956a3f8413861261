"""A machine that is run by QEMU."""

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
# QEMU serves one monitor connection at a time, which another process may be using.
MONITOR_TIMEOUT_S = 2.0
# The status in `query-status` after a write that failed with ENOSPC (QEMU's default, `werror=enospc`).
_IO_ERROR = "io-error"


class QemuMachine(KeptMachine):
    """A QEMU, running or ended, and its keeper.

    A machine that is to become a template has its memory in an anonymous file, so only the process that booted it can
    save it. A file on a disk would slow down the boot, at each page that the guest touches for the first time.
    """

    def __init__(self, record: MachineRecord) -> None:
        super().__init__(record)
        self.memory_fd = -1

    def kill(self) -> None:
        """Kill all processes of the machine."""
        try:
            super().kill()
        finally:
            self.close()

    def close(self) -> None:
        """Close the memory file, if this process has it."""
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
        """Return whether QEMU paused the guest because the host's disk is full."""
        return self._status() == _IO_ERROR

    def resume(self) -> bool:
        """Continue a guest that is paused on an error; return whether it is running. QEMU retries the failed writes.

        If there is still no room, the guest is paused again immediately.
        """
        deadline = Deadline(MONITOR_TIMEOUT_S, "QEMU to continue the guest")
        try:
            with self.monitor(deadline) as client:
                client.execute("cont", deadline)
        except PyroError:
            return False
        return self._status() == "running"

    def _status(self) -> str:
        deadline = Deadline(MONITOR_TIMEOUT_S, "QEMU to report the guest's status")
        try:
            with self.monitor(deadline) as client:
                answer = client.execute("query-status", deadline)
        except PyroError:
            return ""
        return str(cast("Message", answer)["status"])

    def _ask_to_quit(self, timeout_s: float) -> bool:
        deadline = Deadline(timeout_s, "QEMU to accept the quit command")
        try:
            with self.monitor(deadline) as client:
                client.quit(deadline)
        except PyroError:
            # Stopped, stuck or ended: `shutdown` continues with signals.
            return False
        return True
