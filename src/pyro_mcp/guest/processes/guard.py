"""Commands on a host without a VM, each run below a guard process that adopts whatever the command detaches.

With the guard, a command's whole process tree can be found and killed without cgroups or namespaces. There is no
isolation.
"""

from __future__ import annotations

import os
import signal

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.processes.process import Pipes
from pyro_mcp.guest.processes.spawner import Surroundings, become, fork, read_command, send_signal, send_signal_by_fd

_STATUS_BYTES = 4
_KILLED = 128 + signal.SIGKILL
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1)


class GuardedProcess:
    """A guard process that waits for its command."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.pipes = Pipes()
        self._surroundings = surroundings
        self.exit_fd, self._exit_theirs = os.pipe2(os.O_CLOEXEC)
        self._agent = os.getpid()
        try:
            self._pid = fork(self._guard)
            self._pidfd = os.pidfd_open(self._pid)
        except OSError:
            self.pipes.close_all()
            os.close(self.exit_fd)
            os.close(self._exit_theirs)
            raise
        os.close(self._exit_theirs)
        self.pipes.close("request_theirs", "stdin_theirs", "error_theirs")

    def status(self) -> int:
        """Return the command's exit code, or that of a killed command if the guard died."""
        data = os.read(self.exit_fd, _STATUS_BYTES)
        return int.from_bytes(data, "little") if len(data) == _STATUS_BYTES else _KILLED

    def ask_to_end(self) -> None:
        """Send SIGTERM to everything below the guard."""
        send_signal_by_fd(self._pidfd, signal.SIGUSR1)

    def count_left(self) -> int:
        """Return how many processes are below the guard."""
        return len(_descendants(self._pid))

    def kill(self) -> None:
        """Kill everything below the guard."""
        send_signal_by_fd(self._pidfd, signal.SIGTERM)

    def ran_out_of_memory(self) -> bool:
        """Return False: this is not known on a host."""
        return False

    def close(self) -> None:
        """Close the descriptors. The guard exits by itself when no process is left below it."""
        self.pipes.close_all()
        os.close(self.exit_fd)
        os.close(self._pidfd)

    def _guard(self) -> int:
        """Run as the guard: start the command, adopt its orphans, and exit when no process is left."""
        os.setsid()
        # The agent ignores SIGCHLD, so that guards are reaped automatically. A guard does not.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The guard receives signals with sigwait only, so they can't interrupt it elsewhere.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._agent:
            return 0
        self.pipes.settle_child(self._exit_theirs)
        command = read_command(self.pipes.request_theirs)
        if command is None:
            return 0
        pid = fork(lambda: self._run(command))
        # From here on, only the command and its descendants have the streams open.
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, 1)
        os.dup2(null, 2)
        self.pipes.close("stdin_theirs", "error_theirs")
        killing = False
        while self._reap(pid):
            number = signal.sigwait(_SIGNALS)
            killing |= number == signal.SIGTERM
            if killing:
                _kill_descendants()
            elif number == signal.SIGUSR1:
                _signal_all(_descendants(os.getpid()), signal.SIGTERM)
        return 0

    def _reap(self, pid: int) -> bool:
        """Reap ended processes, report the command's exit to the agent, and return whether any process is left."""
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not ended:
                return True
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                _report(self._exit_theirs, code if code >= 0 else 128 - code)

    def _run(self, command: bytes) -> int:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        pipes = self.pipes
        become(command, self._surroundings, pipes.request_theirs, pipes.stdin_theirs, pipes.error_theirs)


class GuardLauncher:
    """Creates guards on demand, which is fast on a host."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    @property
    def is_slow(self) -> bool:
        """Return False: forking on a host is fast."""
        return False

    def make(self) -> GuardedProcess:
        """Return a new guard that waits for its command."""
        return GuardedProcess(self._surroundings)


def _report(fd: int, code: int) -> None:
    try:
        os.write(fd, code.to_bytes(_STATUS_BYTES, "little"))
    except BrokenPipeError:
        return
    finally:
        os.close(fd)


def _kill_descendants() -> None:
    victims = _descendants(os.getpid())
    # Stopped processes can't fork while the others die. A process that was missed is found when the next one dies.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        _signal_all(victims, number)


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            send_signal(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    pending = [pid]
    while pending:
        below = _children(pending.pop())
        found += below
        pending += below
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return children
    return children
