"""Processes that wait inside the workload's namespaces: forked, confined and connected before any request.

Each command has its own control group, which is killed as a whole.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from pyro_mcp.guest.processes.process import Pipes
from pyro_mcp.guest.processes.spawner import (
    Surroundings,
    become,
    fork,
    read_command,
    rehearse,
    send_signal,
    send_signal_by_fd,
)
from pyro_mcp.guest.system.settings import Limits, set_limits
from pyro_mcp.guest.system.workload import WALLS, WORK, Namespaces, memory_kills, memory_kills_in, write_file

_EVENTS_BYTES = 4096
_KILLED = 128 + signal.SIGKILL


class Zygote:
    """A process that waits for its command, then executes it."""

    def __init__(self, namespaces: Namespaces, cgroup: str, launcher: ZygoteLauncher) -> None:
        self.pipes = Pipes()
        self.cgroup = cgroup
        self._namespaces = namespaces
        self._surroundings = launcher.surroundings
        self._launcher = launcher
        # A control group is used by one command after the other.
        self._own_kills, self._all_kills = memory_kills(cgroup), launcher.memory_kills()
        try:
            self._pid = fork(self._wait)
        except OSError:
            # No memory or no process left: the command is refused, and the next may be luckier.
            self.pipes.close_all()
            launcher.release(cgroup)
            raise
        self.exit_fd = os.pidfd_open(self._pid)
        self.pipes.close("request_theirs", "stdin_theirs", "error_theirs")

    def status(self) -> int:
        """Reap the process, and return its exit code."""
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            # The workload's namespaces ended, and `Namespaces.end` reaped it.
            return _KILLED
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def ask_to_end(self) -> None:
        """Send SIGTERM to everything in its control group."""
        for pid in _read(f"{self.cgroup}/cgroup.procs").split():
            with suppress(ProcessLookupError):
                send_signal(int(pid), signal.SIGTERM)

    def count_left(self) -> int:
        """Return how many processes are in its control group."""
        return len(_read(f"{self.cgroup}/cgroup.procs").split())

    def kill(self) -> None:
        """Kill everything in its control group."""
        write_file(f"{self.cgroup}/cgroup.kill", "1")
        # It may not have joined the group yet.
        send_signal_by_fd(self.exit_fd, signal.SIGKILL)

    def ran_out_of_memory(self) -> bool:
        """Return whether the OOM killer killed a process of this command."""
        return self._launcher.memory_kills() != self._all_kills and memory_kills(self.cgroup) > self._own_kills

    def close(self) -> None:
        """Close the descriptors, and release the control group for another command."""
        self.pipes.close_all()
        os.close(self.exit_fd)
        self._launcher.release(self.cgroup)

    def _wait(self) -> int:
        """Run as the zygote."""
        os.setsid()
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        self._namespaces.enter(self.cgroup)
        set_limits(self._launcher.limits)
        self.pipes.settle_child()
        rehearse(self._surroundings)
        command = read_command(self.pipes.request_theirs)
        if command is not None:
            pipes = self.pipes
            become(command, self._surroundings, pipes.request_theirs, pipes.stdin_theirs, pipes.error_theirs)
        return 0


class ZygoteLauncher:
    """Creates zygotes, and reuses their control groups."""

    def __init__(self, surroundings: Surroundings, enter_workload: Callable[[], Namespaces]) -> None:
        self.surroundings = surroundings
        self.limits: Limits = {}
        self._enter_workload = enter_workload
        self._free: list[str] = []
        self._lingering: list[str] = []
        self._count = 0
        self._events = -1

    @property
    def is_slow(self) -> bool:
        """Return True: forking, entering and confining takes longer than many commands."""
        return True

    def make(self) -> Zygote:
        """Return a new waiting zygote."""
        return Zygote(self._enter_workload(), self._cgroup(), self)

    def release(self, cgroup: str) -> None:
        """Make a control group available again, once no process is left in it."""
        (self._free if _is_empty(cgroup) else self._lingering).append(cgroup)

    def memory_kills(self) -> int:
        """Return how many processes of the whole workload the OOM killer has killed. This is fast."""
        if self._events < 0:
            self._events = os.open(f"{WALLS}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        return memory_kills_in(os.pread(self._events, _EVENTS_BYTES, 0))

    def kill_all(self) -> None:
        """Kill the whole workload except its PID 1."""
        write_file(f"{WORK}/cgroup.kill", "1")

    def _cgroup(self) -> str:
        if not self._free and self._lingering:
            still = [cgroup for cgroup in self._lingering if not _is_empty(cgroup)]
            self._free = [cgroup for cgroup in self._lingering if cgroup not in still]
            self._lingering = still
        if self._free:
            return self._free.pop()
        self._count += 1
        cgroup = f"{WORK}/exec{self._count}"
        os.mkdir(cgroup)
        return cgroup


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _EVENTS_BYTES)
    finally:
        os.close(fd)


def _is_empty(cgroup: str) -> bool:
    return b"populated 0" in _read(f"{cgroup}/cgroup.events")
