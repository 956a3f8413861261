"""Commands on a host without a machine, each below a guard: a process that adopts what the command detaches.

The guard finds and kills a command's whole tree where there are no cgroups and no namespaces. Nothing is confined.
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
    """A guard that waits for its command."""

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
        """Return the exit code of the command, or that of a killed one if its guard died."""
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
        """Not known on a host."""
        return False

    def close(self) -> None:
        """Give back the descriptors. The guard ends by itself when nothing is left below it."""
        self.pipes.close_all()
        os.close(self.exit_fd)
        os.close(self._pidfd)

    def _guard(self) -> int:
        """Be the guard: run the command, adopt what it leaves behind, and end when nothing is left."""
        os.setsid()
        # The agent does not wait for guards: it ignores this signal, and with that they are gone when they end.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The guard takes both when it looks for them; nothing interrupts it elsewhere.
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
        # From here on the command, and what it starts, are all that hold the streams open.
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
        """Reap what has ended, tell the agent if the command has, and say whether anything is left."""
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not ended:
                return True
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                _tell(self._exit_theirs, code if code >= 0 else 128 - code)

    def _run(self, command: bytes) -> int:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        pipes = self.pipes
        become(command, self._surroundings, pipes.request_theirs, pipes.stdin_theirs, pipes.error_theirs)


class GuardLauncher:
    """Makes guards when they are asked for: on a host that is quick."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    @property
    def is_slow(self) -> bool:
        """Say no: on a host this is quick."""
        return False

    def make(self) -> GuardedProcess:
        """Return a guard that waits."""
        return GuardedProcess(self._surroundings)


def _tell(fd: int, code: int) -> None:
    try:
        os.write(fd, code.to_bytes(_STATUS_BYTES, "little"))
    except BrokenPipeError:
        return
    finally:
        os.close(fd)


def _kill_descendants() -> None:
    victims = _descendants(os.getpid())
    # Those that stand still can't fork while the others die; whatever slipped through is found at the next death.
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
