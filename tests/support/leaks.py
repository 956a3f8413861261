"""Find what a test left behind: processes, threads, descriptors, mounts, files.

A process counts only if it descends from this test process, however it was detached. Other workers and other work on
the machine are never blamed.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host.process import reap_detached
from pyro_mcp.host.process.identity import ProcessStat, read_stat
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.state import reserve
from pyro_mcp.state.filenames import BASELINE_PLACEHOLDER, STORE_LOCK, VM_LOCKS

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 5.0
# What stays in the state and runtime directories by design, and is the same however many VMs there were.
LAYOUT = frozenset(
    {"vms", "workspaces", "locks", "tmp", "exports", reserve.NAME, STORE_LOCK, VM_LOCKS, BASELINE_PLACEHOLDER}
)


@dataclass(frozen=True, slots=True)
class Census:
    """The processes, threads, descriptors, mounts and files at one moment, each with the line that reports it."""

    processes: dict[tuple[int, int], str]
    threads: dict[int, str]
    descriptors: dict[int, str]
    mounts: dict[str, str]
    files: dict[str, str]

    @classmethod
    def take(cls, root: Path) -> Census:
        """Take a census of this process and of the directories below `root`."""
        return cls(
            processes={
                (p.pid, p.start_time): f"process {p.pid} {_command_line(p)}" for p in descendants() if not _is_pause(p)
            },
            threads={
                thread.ident or 0: f"thread {thread.name}" for thread in threading.enumerate() if thread.is_alive()
            },
            descriptors=_descriptors(),
            mounts=_mounts(root),
            files=_files(root),
        )

    def since(self, before: Census) -> list[str]:
        """Return a line for each entry that is not in `before`."""
        lines: list[str] = []
        lines += [line for key, line in self.processes.items() if key not in before.processes]
        lines += [line for key, line in self.threads.items() if key not in before.threads]
        lines += [line for key, line in self.descriptors.items() if before.descriptors.get(key) != line]
        lines += [line for key, line in self.mounts.items() if key not in before.mounts]
        lines += [line for key, line in self.files.items() if key not in before.files]
        return lines


def leaks_since(before: Census, root: Path, *, settle_s: float = SETTLE_S) -> list[str]:
    """Return a line for each new entry; processes and threads that are ending get `settle_s` seconds."""
    left: list[str] = []

    def nothing_left() -> bool:
        nonlocal left
        _reap_adopted(before)
        left = Census.take(root).since(before)
        if left:
            # A reference cycle is no leak; only what a collection does not free is.
            gc.collect()
            left = Census.take(root).since(before)
        # Only what is ending by itself is worth waiting for.
        return not any(line.startswith(("process", "thread")) for line in left)

    with suppress(PyroError):
        wait_until(nothing_left, timeout_s=settle_s, what="the test's processes to end", interval_s=0.05)
    return left


def _reap_adopted(before: Census) -> None:
    reap_detached()
    for process in descendants():
        if (
            process.is_dead
            and process.parent == os.getpid()
            and (process.pid, process.start_time) not in before.processes
        ):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)


def descendants() -> list[ProcessStat]:
    """Return the processes that descend from this one, however they were detached."""
    found: list[ProcessStat] = []
    pending = [os.getpid()]
    while pending:
        for child in _children(pending.pop()):
            stat = read_stat(child)
            if stat is not None:
                found.append(stat)
                pending.append(child)
    return found


def _is_pause(process: ProcessStat) -> bool:
    """Say whether it is the pause of a guest's watcher, which has a new one every few seconds."""
    parent = read_stat(process.parent) if process.name == "sleep" else None
    return parent is not None and "/watcher.sh" in _command_line(parent)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += [int(word) for word in file.read().split()]
    return children


def _command_line(process: ProcessStat) -> str:
    if process.is_dead:
        return f"({process.name}, ended but never waited for)"
    with suppress(OSError), open(f"/proc/{process.pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip() or process.name
    return process.name


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[int(name)] = f"descriptor {name} -> {os.readlink(f'/proc/self/fd/{name}')}"
    return found


def _mounts(root: Path) -> dict[str, str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4] for line in file]
    return {point: f"mount {point}" for point in points if point.startswith(str(root))}


def _files(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for directory, subdirectories, files in os.walk(root):
        # The store and the layout's own directories stay; what is in them counts.
        for name in [*subdirectories, *files]:
            path = os.path.join(directory, name)
            if not _is_layout(directory, name) and not name.startswith("state.db"):
                found[path] = f"file {path}"
    return found


def _is_layout(directory: str, name: str) -> bool:
    match os.path.basename(directory):
        case "state" | "run":
            return name in LAYOUT
        case reserve.NAME:
            return True
        case "lanes":
            # The first use of a lane makes its lock, which lasts as long as the VM: a guest may outlive one test.
            return name.endswith(".lock")
        case _:
            return False
