"""`pyro workspace top`: the processes in a workspace. `pyro stats`: what VMs use of this host."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pyro_mcp.cli.failures import INTERRUPTED
from pyro_mcp.cli.output.tables import size, table
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import STDOUT, put, put_json, write
from pyro_mcp.cli.units import brief_age
from pyro_mcp.host.waiting import Deadline, wait_until
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from pyro_mcp.agent.processes import GuestProcess
    from pyro_mcp.cli.parsing import Parsed
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.usage import VmUsage

_KIB = 1024
# Between the two looks that a share of the processor comes from; between two pictures on a terminal.
_SAMPLE_S, _PICTURE_S = 0.5, 2.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def top(workspace_id: str, parsed: Parsed) -> int:
    """Show the processes in a workspace; return the exit status."""
    from pyro_mcp.workspace.commands.processes import processes_of

    with interruptible(), engine(Runner().call()) as using:
        found_in, processes = processes_of(using, workspace_id)
    if parsed.json:
        documents = [asdict(each) for each in processes]
        put_json({"workspace_id": found_in, "count": len(documents), "processes": documents})
    elif parsed.quiet:
        put("\n".join(str(each.pid) for each in processes))
    else:
        put(table(("PID", "CPU", "MEMORY", "AGE", "USER", "COMMAND"), map(_row, processes)))
    return 0


def _row(process: GuestProcess) -> tuple[object, ...]:
    cpu = f"{process.cpu_ms / 1000:.1f}s"
    age = brief_age(process.age_ms / 1000)
    return (process.pid, cpu, size(process.memory_kib * _KIB), age, process.uid or "root", process.command)


def stats(once: bool, parsed: Parsed) -> int:
    """Show what each VM uses, again and again on a terminal until Ctrl-C; return the exit status."""
    is_live = os.isatty(STDOUT) and not (once or parsed.json or parsed.quiet)
    shown: list[dict[str, object]] = []
    try:
        with interruptible(), engine(Runner().call()) as using:
            for shown in _pictures(using):
                if not is_live:
                    break
                write(STDOUT, (_HOME_AND_CLEAR + _stats_table(shown) + "\n").encode())
    except KeyboardInterrupt:
        # The way to end the picture.
        return 0 if is_live else INTERRUPTED
    if parsed.json:
        put_json({"count": len(shown), "vms": shown})
    elif parsed.quiet:
        put("\n".join(str(each["workspace_id"] or each["vm_id"]) for each in shown))
    else:
        put(_stats_table(shown))
    return 0


def _pictures(using: Engine) -> Iterator[list[dict[str, object]]]:
    """Yield what each VM uses, its processor since the last time."""
    from pyro_mcp.workspace.machines.usage import measure

    pause_s = _SAMPLE_S
    before, before_s = measure(using), time.monotonic()
    while True:
        _pass(pause_s)
        now, now_s = measure(using), time.monotonic()
        yield [_document(each, before, now_s - before_s) for each in now]
        before, before_s, pause_s = now, now_s, _PICTURE_S


def _pass(pause_s: float) -> None:
    """Let time pass."""
    pause = Deadline(pause_s, "the next look")
    wait_until(lambda: pause.expired, timeout_s=2 * pause_s, what=pause.what, interval_s=pause_s)


def _document(usage: VmUsage, before: Sequence[VmUsage], passed_s: float) -> dict[str, object]:
    document: dict[str, object] = asdict(usage)
    used_s = usage.cpu_s - next((each.cpu_s for each in before if each.vm_id == usage.vm_id), 0.0)
    return {**document, "cpu_percent": round(max(0.0, used_s) / passed_s * 100, 1)}


def _stats_table(shown: Sequence[dict[str, object]]) -> str:
    if not shown:
        return "no VM runs"
    rows = [
        (
            each["name"] or each["workspace_id"] or each["vm_id"],
            f"{each['cpu_percent']}%",
            f"{size(each['memory_bytes'])} / {size(each['memory_limit_bytes'])}",
            size(each["disk_bytes"]),
            each["vcpu_count"],
        )
        for each in shown
    ]
    return table(("VM", "CPU", "MEMORY", "DISK", "CPUS"), rows)
