"""A process that is made before any request, and becomes a command.

The launchers confine it: `zygote` in a machine, `guard` on a host.
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

# How much a pipe takes with nobody reading (pipe(7)). Any user may ask for a megabyte, root for more.
_PIPE_BYTES = 65536
_READ_BYTES = 65536


class Pipes:
    """The pipes between the agent and one process.

    The agent keeps the writing ends of stdout and stderr too: so the end of the command wakes it once, not once for
    each stream that is closed.
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
        """Close the ends called `names`, those that are still open."""
        for name in names:
            fd: int = getattr(self, name)
            if fd >= 0:
                setattr(self, name, -1)
                os.close(fd)

    def close_theirs(self) -> None:
        """Close the agent's copies of the writing ends."""
        self.close("stdout_theirs", "stderr_theirs")

    def close_all(self) -> None:
        """Close what is still open."""
        self.close(*self.__slots__)

    def settle_child(self, *kept: int) -> None:
        """In the child: make the standard streams, and drop every descriptor that is not the child's or `kept`."""
        os.dup2(self.stdout_theirs, 1)
        os.dup2(self.stderr_theirs, 2)
        os.dup2(_nothing_to_read(), 0)
        # All others are copies of the agent's: lanes, and pipes whose readers would wait for their end.
        last = 2
        for fd in sorted((self.request_theirs, self.error_theirs, self.stdin_theirs, *kept)):
            os.closerange(last + 1, fd)
            last = fd
        os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def _nothing_to_read() -> int:
    """Return a descriptor that is at its end."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # A workload may have removed its devices, and still be asked to run something.
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.close(writing)
        return reading


class Process(Protocol):
    """One process, waiting or running. Every method is called by the agent alone."""

    @property
    def pipes(self) -> Pipes:
        """Return the pipes to it."""
        ...

    @property
    def exit_fd(self) -> int:
        """Return the descriptor that becomes readable when the command has ended."""
        ...

    def status(self) -> int:
        """Reap a command that has ended, and return its exit code: 128 and the signal's number where one ended it."""
        ...

    def ask_to_end(self) -> None:
        """Send SIGTERM to the command and whatever descends from it."""
        ...

    def count_left(self) -> int:
        """Return how many processes that descend from the command are left, once it has ended and was reaped."""
        ...

    def kill(self) -> None:
        """Kill the command and whatever descends from it, however it was detached."""
        ...

    def ran_out_of_memory(self) -> bool:
        """Say whether the kernel killed something for want of memory while it ran."""
        ...

    def close(self) -> None:
        """Release what the agent holds of one that has ended; processes it left running go on."""
        ...


class Launcher(Protocol):
    """Makes processes that wait."""

    @property
    def is_slow(self) -> bool:
        """Say whether one should be made before it is asked for."""
        ...

    def make(self) -> Process:
        """Return a new process that waits."""
        ...


def launch(process: Process, body: bytes) -> None:
    """Make a waiting process run the command of an EXEC frame.

    Raises:
        RefusalError: if the command is too long.
        BrokenPipeError: if the process has been killed meanwhile.
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
    # A process that a signal has stopped meanwhile must not stop the agent: it never waits for the pipe.
    if sent < len(request):
        raise RefusalError(wire.ARGUMENTS_TOO_LONG, "the arguments and the environment of the command are too long")


def was_asked_in_vain(process: Process) -> bool:
    """Say whether a process that has ended did so before it could become its command."""
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
    """Go on taking the output of what a command left running, to nowhere, so that it does not die of writing."""
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
