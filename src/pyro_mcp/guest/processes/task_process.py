"""Processes for tasks: children of the agent, outside the workload's namespaces.

The kernel may kill them if memory runs out. A frozen workspace is thawed when the process that froze it has ended.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.processes.process import Pipes
from pyro_mcp.guest.processes.spawner import fork, read_command, send_signal_by_fd
from pyro_mcp.guest.tasks.area import TaskRoots
from pyro_mcp.guest.tasks.running import run_task

# A process that waits for a disk does not die immediately.
_END_S = 2.0


class TaskProcess:
    """A process that waits for its task, then runs it."""

    def __init__(self, launcher: TaskLauncher) -> None:
        self.pipes = Pipes()
        #: Called when the process has ended, for whatever reason.
        self.on_end: Callable[[], None] | None = None
        self._launcher = launcher
        self._agent = os.getpid()
        try:
            self._pid = launcher.fork(self._wait)
        except OSError:
            self.pipes.close_all()
            raise
        self.exit_fd = os.pidfd_open(self._pid)
        self.pipes.close("request_theirs", "stdin_theirs", "error_theirs")
        launcher.alive.add(self)

    def status(self) -> int:
        """Reap the process, call `on_end`, and return the exit code."""
        self._launcher.alive.discard(self)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            # On a host, children are reaped automatically. The task's answer has its outcome.
            return 0
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def ask_to_end(self) -> None:
        """Kill the process: a task has no graceful shutdown."""
        self.kill()

    def count_left(self) -> int:
        """Return 0: a task starts no processes."""
        return 0

    def kill(self) -> None:
        """Kill the process. A task starts no others."""
        send_signal_by_fd(self.exit_fd, signal.SIGKILL)

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for the process to end, and return whether it did."""
        poll = select.poll()
        poll.register(self.exit_fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def ran_out_of_memory(self) -> bool:
        """Return whether the OOM killer killed a task since the last call."""
        return self._launcher.memory_kills_grew()

    def close(self) -> None:
        """Close the descriptors."""
        self.pipes.close_all()
        os.close(self.exit_fd)

    def _wait(self) -> int:
        """Run as the task process."""
        os.setsid()
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._agent:
            return 0
        self._launcher.confine()
        pipes = self.pipes
        pipes.settle_child()
        body = read_command(pipes.request_theirs)
        if body is None:
            return 0
        os.dup2(pipes.stdin_theirs, 0)
        os.close(pipes.stdin_theirs)
        return run_task(body, self._launcher.roots)


class TaskLauncher:
    """Creates processes for tasks. This base class is used as it is on a host."""

    is_slow = False

    def __init__(self, roots: TaskRoots) -> None:
        self.roots = roots
        self.alive: set[TaskProcess] = set()

    def end_all(self) -> None:
        """Kill all tasks, and wait for them to end, for a bounded time."""
        for process in self.alive:
            process.kill()
        for process in self.alive:
            process.has_ended(_END_S)

    def make(self) -> TaskProcess:
        """Return a new waiting process."""
        return TaskProcess(self)

    def fork(self, child: Callable[[], int]) -> int:
        """Fork a process beside the agent."""
        return fork(child)

    def confine(self) -> None:
        """In the child: apply the limits of tasks. There are none on a host."""

    def memory_kills_grew(self) -> bool:
        """Return whether the OOM killer killed a task since the last call. Not known on a host: False."""
        return False
