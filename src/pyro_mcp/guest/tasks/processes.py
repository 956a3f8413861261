"""List the workload's processes, with pids as the workload sees them: the task PROCESSES.

This must not run in the agent's own process: a workload can block readers of its command lines.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pyro_mcp.guest.tasks.area import Area
from pyro_mcp.guest.tasks.failures import TaskError
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document

_READ_BYTES = 4096
_MAX_COMMAND_CHARS = 500


def list_processes(area: Area, *, most: int) -> Document:
    """Return at most `most` processes of the workload, sorted by CPU time used, descending."""
    if not area.roots.is_machine:
        raise TaskError(tasks.UNSUPPORTED, message="listing processes requires a VM")
    own = _program("self")
    ticks = os.sysconf("SC_CLK_TCK")
    now_s = float(_read("uptime").split()[0])
    # Pids in the workload's namespace, by the agent's pid: needed to translate parents.
    numbers: dict[int, int] = {}
    found: list[tuple[int, Document]] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        # The process may end at any moment.
        with suppress(OSError, ValueError, IndexError, KeyError):
            status = _status(name)
            inner = status["NSpid"].split()[1:]
            # Processes outside the workload's namespace, or waiting to become a command, are the agent's own.
            if not inner or _program(name) == own:
                continue
            numbers[int(name)] = int(inner[-1])
            _, _, rest = _read(f"{name}/stat").rpartition(b")")
            fields = rest.split()
            words = _read(f"{name}/cmdline").rstrip(b"\0").replace(b"\0", b" ") or status["Name"].encode()
            process: Document = {
                "pid": int(inner[-1]),
                "uid": int(status["Uid"].split()[0]),
                "state": status["State"].split()[0],
                "cpu_ms": (int(fields[11]) + int(fields[12])) * 1000 // ticks,
                "memory_kib": int(status.get("VmRSS", "0").split()[0]),
                "age_ms": max(0, int((now_s - int(fields[19]) / ticks) * 1000)),
                "command": os.fsdecode(words)[:_MAX_COMMAND_CHARS],
            }
            found.append((int(status["PPid"]), process))
    processes = [{**process, "parent": numbers.get(parent, 0)} for parent, process in found]
    processes.sort(key=lambda process: (-process["cpu_ms"], process["pid"]))  # type: ignore[operator]
    return {"processes": processes[:most], "total": len(processes)}


def _program(name: str) -> tuple[int, int]:
    found = os.stat(f"/proc/{name}/exe")
    return found.st_dev, found.st_ino


def _status(name: str) -> dict[str, str]:
    lines = (line.partition(b":") for line in _read(f"{name}/status").splitlines())
    return {key.decode(): value.decode("utf-8", "replace").strip() for key, _, value in lines}


def _read(name: str) -> bytes:
    fd = os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)
