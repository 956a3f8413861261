"""A process that is forked before any request, and later becomes a command.

Its launcher determines the isolation: `zygote` in a VM, `guard` on a host.
"""

from __future__ import annotations

import fcntl
import os
import termios
from typing import TYPE_CHECKING, Protocol

from pyro_mcp.guest.processes.spawner import pack_command, unpack_failure
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire

if TYPE_CHECKING:
    from pyro_mcp.protocol.loop import Loop

# The default capacity of a pipe (pipe(7)). Any user may raise it to a megabyte, root further.
_PIPE_BYTES = 65536
_READ_BYTES = 65536


class Pipes:
    """The pipes between the agent and one process.

    The agent keeps the write ends of stdout and stderr open too, so that the end of the command wakes it once, rather
    than once for each stream that is closed.
    """

    __slots__ = (
        "error",
        "error_theirs",
        "request",
        "request_theirs",
        "stderr",
        "stderr_theirs",
        "stdin",
        "stdin_theirs",
        "stdout",
        "stdout_theirs",
    )

    def __init__(self) -> None:
        self.request_theirs, self.request = os.pipe2(os.O_CLOEXEC)
        self.error, self.error_theirs = os.pipe2(os.O_CLOEXEC)
        self.stdin_theirs, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, self.stdout_theirs = os.pipe2(os.O_CLOEXEC)
        self.stderr, self.stderr_theirs = os.pipe2(os.O_CLOEXEC)
        for fd in (self.request, self.stdin, self.stdout, self.stderr, self.error):
            os.set_blocking(fd, False)

    def close(self, *names: str) -> None:
        """Close the named ends that are still open."""
        for name in names:
            fd: int = getattr(self, name)
            if fd >= 0:
                setattr(self, name, -1)
                os.close(fd)

    def close_theirs(self) -> None:
        """Close the agent's copies of the write ends."""
        self.close("stdout_theirs", "stderr_theirs")

    def close_all(self) -> None:
        """Close all ends that are still open."""
        self.close(*self.__slots__)

    def settle_child(self, *kept: int) -> None:
        """In the child: set up the standard streams, and close every descriptor except the child's own and `kept`."""
        os.dup2(self.stdout_theirs, 1)
        os.dup2(self.stderr_theirs, 2)
        os.dup2(_nothing_to_read(), 0)
        # All others are copies of the agent's descriptors: lanes, and pipes whose readers would never see their end.
        last = 2
        for fd in sorted((self.request_theirs, self.error_theirs, self.stdin_theirs, *kept)):
            os.closerange(last + 1, fd)
            last = fd
        os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def _nothing_to_read() -> int:
    """Return a descriptor that is at end of file."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # The workload may have removed /dev/null.
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.close(writing)
        return reading


class Process(Protocol):
    """One process, waiting or running. Only the agent calls its methods."""

    @property
    def pipes(self) -> Pipes:
        """Return the pipes to the process."""
        ...

    @property
    def exit_fd(self) -> int:
        """Return a descriptor that becomes readable when the command has ended."""
        ...

    def status(self) -> int:
        """Reap a command that has ended, and return its exit code: 128 + N if signal N killed it."""
        ...

    def ask_to_end(self) -> None:
        """Send SIGTERM to the command and all its descendants."""
        ...

    def count_left(self) -> int:
        """Return how many descendants of the command are left after it was reaped."""
        ...

    def kill(self) -> None:
        """Kill the command and all its descendants, including detached ones."""
        ...

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel's OOM killer killed one of its processes."""
        ...

    def close(self) -> None:
        """Release the resources of a process that has ended; processes it left running continue."""
        ...


class Launcher(Protocol):
    """Creates waiting processes."""

    @property
    def is_slow(self) -> bool:
        """Return whether a process should be created before it is needed."""
        ...

    def make(self) -> Process:
        """Return a new waiting process."""
        ...


def launch(process: Process, body: bytes) -> None:
    """Make a waiting process run the command of an EXEC frame.

    Raises:
        RefusalError: if the command is too long.
        BrokenPipeError: if the process has died.
    """
    request = pack_command(body)
    pipes = process.pipes
    try:
        if len(request) > _PIPE_BYTES:
            fcntl.fcntl(pipes.request, fcntl.F_SETPIPE_SZ, len(request))
        sent = os.write(pipes.request, request)
    except BrokenPipeError:
        raise
    except OSError:
        sent = 0
    # The write must not block: a signal may have stopped the process.
    if sent < len(request):
        raise RefusalError(wire.ARGUMENTS_TOO_LONG, "the arguments and the environment of the command are too long")


def never_read_request(process: Process) -> bool:
    """Return whether a process ended before it could become its command."""
    unread = fcntl.ioctl(process.pipes.request, termios.FIONREAD, bytes(4))
    return unread != bytes(4)


def failure_of(process: Process) -> RefusalError | None:
    """Return why a process that has ended never became a command, or None if it did."""
    try:
        data = os.read(process.pipes.error, _READ_BYTES)
    except BlockingIOError:
        return None
    return unpack_failure(data) if data else None


def linger(loop: Loop, process: Process) -> None:
    """Discard the output of processes that a command left running, so that they don't die of SIGPIPE."""
    pipes = process.pipes
    open_fds = {pipes.stdout, pipes.stderr}

    def swallow(fd: int) -> None:
        try:
            if os.read(fd, _READ_BYTES):
                return
        except BlockingIOError:
            return
        loop.remove(fd)
        open_fds.discard(fd)
        if not open_fds:
            loop.later(process.close)

    for fd in open_fds:
        loop.add(fd, lambda mask, fd=fd: swallow(fd))  # noqa: ARG005
