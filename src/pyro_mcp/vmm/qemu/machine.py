"""A machine that QEMU runs.

Owns what only QEMU can be asked for. Refuses to wait for a monitor that does not answer longer than it is told.
"""

from __future__ import annotations

from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.host.sockets import connect_unix
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.vmm.machine import KeptMachine
from pyro_mcp.vmm.qemu.qmp import QmpClient

MONITOR = "qmp"


class QemuMachine(KeptMachine):
    """A running, or ended, QEMU and its keeper."""

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
