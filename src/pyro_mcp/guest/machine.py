"""Interface of the machine the agent runs in: a VM (`system.virtual`) or a host directory (`compat`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyro_mcp.guest.processes.standby import Standby
    from pyro_mcp.guest.task_intake import TaskIntake
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Loop

    # Inode, size, and ctime in ns.
    FileVersion = tuple[int, int, int]


class Machine(Protocol):
    """The machine that the agent runs in."""

    @property
    def standby(self) -> Standby:
        """Return the source of prepared executions."""
        ...

    @property
    def task_intake(self) -> TaskIntake:
        """Return the source of processes for tasks."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Return the optional features that the host may use."""
        ...

    @property
    def loop(self) -> Loop:
        """Return the agent's event loop."""
        ...

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudoterminal in the workload's /dev/pts."""
        ...

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of the file that the workload sees at an absolute path, or None if there is none."""
        ...

    def prepare(self, document: Document) -> Document:
        """Do everything that does not depend on the guest's identity, before a template is saved."""
        ...

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        """Assume the identity of one particular guest."""
        ...

    def keep_secret(self, document: Document) -> None:
        """Make a secret available to the workload, in memory only."""
        ...

    def set_clock(self, clock_ns: int) -> None:
        """Set the clock to `clock_ns` nanoseconds since the epoch."""
        ...

    def sync(self) -> None:
        """Flush all file systems."""
        ...

    def power_off(self) -> None:
        """End all processes, unmount the disks cleanly, and power off."""
        ...
