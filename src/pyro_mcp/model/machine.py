"""The record of a running machine: enough for a later process to find it, talk to it, and end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import Accelerator, VmmKind


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """Where a machine is and which processes it consists of.

    A process is told apart by its pid, its start time (clock ticks since boot, proc(5)) and the boot; a pid of 0
    stands for one that is not known. `facts` is the driver's own, but for `remover_pid` and `remover_start_time`: the
    process that waits for the end of the lease, to remove the disks then. `earlier_remover` is that of the machine that
    this one follows: it is ended when this one is recorded, or later if that was cut off.
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
        """Return pid and start time of the process that waits for the end of the lease; zeros if there is none."""
        pid, started = self.facts.get("remover_pid"), self.facts.get("remover_start_time")
        return (pid, started) if isinstance(pid, int) and isinstance(started, int) else (0, 0)

    def to_json(self) -> dict[str, object]:
        """Return the record as a JSON object."""
        return {
            "kind": self.kind.value,
            "accelerator": self.accelerator.value,
            "boot_id": self.boot_id,
            "runtime_dir": self.runtime_dir,
            "keeper_pid": self.keeper_pid,
            "keeper_start_time": self.keeper_start_time,
            "vmm_pid": self.vmm_pid,
            "vmm_start_time": self.vmm_start_time,
            "earlier_remover": list(self.earlier_remover),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> MachineRecord:
        """Read a record that `to_json` made; fields that are not known are left alone.

        Raises:
            PyroError: CORRUPT if a field is missing or of the wrong type.
        """
        facts = document.get("facts", {})
        try:
            return cls(
                kind=VmmKind(_text(document, "kind")),
                accelerator=Accelerator(_text(document, "accelerator")),
                boot_id=_text(document, "boot_id"),
                runtime_dir=_text(document, "runtime_dir"),
                keeper_pid=_number(document, "keeper_pid"),
                keeper_start_time=_number(document, "keeper_start_time"),
                vmm_pid=_number(document, "vmm_pid"),
                vmm_start_time=_number(document, "vmm_start_time"),
                earlier_remover=_pair(document, "earlier_remover"),
                facts=cast("Mapping[str, object]", facts) if isinstance(facts, dict) else {},
            )
        except ValueError as error:
            raise PyroError(ErrorCode.CORRUPT, f"a machine's record is damaged: {error}") from error


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a text")  # noqa: TRY004 - the reader of damaged JSON expects ValueError
    return value


def _pair(document: Mapping[str, object], key: str) -> tuple[int, int]:
    match document.get(key, [0, 0]):
        case [int(pid), int(start_time)]:
            return pid, start_time
        case _:
            raise ValueError(f"{key} is not a process")


def _number(document: Mapping[str, object], key: str) -> int:
    value = document.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{key} is not a number")  # noqa: TRY004 - the reader of damaged JSON expects ValueError
    return value
