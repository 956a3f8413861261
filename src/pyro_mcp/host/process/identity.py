"""Process identity (pid, start time, boot) and the search for descendants, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

_DEAD_STATES = "ZXx"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Identifies a process, even after its pid has been reused."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Return the identity of the process that has `pid` now, or None."""
        started = start_time(pid)
        return None if started is None else cls(pid, started, boot_id())

    def is_running(self) -> bool:
        """Return whether this process is still running."""
        return self.boot_id == boot_id() and start_time(self.pid) == self.start_time


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of /proc/PID/stat that the product needs (proc(5))."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    start_time: int

    @property
    def is_dead(self) -> bool:
        """Return whether the process has ended and waits to be reaped."""
        return self.state in _DEAD_STATES


@cache
def boot_id() -> str:
    """Return the kernel's random id of the current boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """Return the /proc entry of `pid`, or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may itself contain parentheses and spaces.
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    return ProcessStat(
        pid=pid,
        name=head.partition(b"(")[2].decode("utf-8", "replace"),
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_time=int(fields[19]),
    )


def start_time(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot, or None if it is not running (or is a zombie)."""
    found = read_stat(pid)
    return None if found is None or found.is_dead else found.start_time


def all_processes() -> list[ProcessStat]:
    """Return every visible process."""
    found = (read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def tree_of(pid: int) -> list[ProcessStat]:
    """Return the running descendants of `pid`, and members of a group or session that it leads, without itself."""
    processes = all_processes()
    members = {pid}
    while True:
        more = {
            process.pid for process in processes if process.parent in members or pid in (process.group, process.session)
        } - members
        if not more:
            break
        members |= more
    return [process for process in processes if process.pid in members - {pid} and not process.is_dead]


def thread_count(uid: int) -> int:
    """Return the number of threads of a user's processes, which RLIMIT_NPROC limits."""
    total = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        # The directory's owner is no indication: it is root for processes that can't be traced, such as a jailed VMM.
        with suppress(OSError), open(f"/proc/{name}/status", "rb") as file:
            facts = dict(line.split(b":", 1) for line in file.read().splitlines())
            if int(facts[b"Uid"].split()[0]) == uid:
                total += int(facts[b"Threads"])
    return total
