"""The agent's surroundings: a virtual machine (`system.virtual`) or a directory of the host (`compat`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyro_mcp.guest.desk import TaskIntake
    from pyro_mcp.guest.processes.standby import Standby
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Loop

    # Inode, size, and when it was changed last.
    FileVersion = tuple[int, int, int]


class Machine(Protocol):
    """The machine that the agent runs in."""

    @property
    def standby(self) -> Standby:
        """Return what has executions ready."""
        ...

    @property
    def desk(self) -> TaskIntake:
        """Return what takes in tasks."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Return what the host may rely on."""
        ...

    @property
    def loop(self) -> Loop:
        """Return the agent's loop."""
        ...

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudo terminal, which the workload finds by the number it has there."""
        ...

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of what the workload finds at an absolute path, or None if it finds nothing."""
        ...

    def prepare(self, document: Document) -> Document:
        """Do whatever can be done before anybody knows for whom."""
        ...

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        """Become one particular guest."""
        ...

    def keep_secret(self, document: Document) -> None:
        """Show the workload a secret, in memory alone."""
        ...

    def set_clock(self, clock_ns: int) -> None:
        """Set the clock to so many nanoseconds since the epoch."""
        ...

    def sync(self) -> None:
        """Put on the disks what is not there yet."""
        ...

    def power_off(self) -> None:
        """End all that runs, leave the disks clean, and the machine."""
        ...
