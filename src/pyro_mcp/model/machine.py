"""The record of a running machine: enough for a later process to find it, talk to it, and end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.model.kinds import Accelerator, VmmKind


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """The directories and processes of a machine.

    A process is identified by its pid, its start time (clock ticks since boot, proc(5)) and the boot id; a pid of 0
    means that it is unknown. `facts` belong to the driver, except `remover_pid` and `remover_start_time`: the process
    that removes the disks at the end of the lease. `earlier_remover` is that of the preceding machine: it is ended when
    this one is recorded, or later if that was interrupted.
    """

    kind: VmmKind
    accelerator: Accelerator
    boot_id: str
    runtime_dir: str
    keeper_pid: int
    keeper_start_time: int
    vmm_pid: int = 0
    vmm_start_time: int = 0
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    earlier_remover: tuple[int, int] = (0, 0)

    @property
    def remover(self) -> tuple[int, int]:
        """Return pid and start time of the process that removes the disks at the end of the lease; zeros if none."""
        pid, started = self.facts.get("remover_pid"), self.facts.get("remover_start_time")
        return (pid, started) if isinstance(pid, int) and isinstance(started, int) else (0, 0)
