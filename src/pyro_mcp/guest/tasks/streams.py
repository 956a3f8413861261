"""A task's stdin and stdout. Small pieces are gathered into large ones."""

from __future__ import annotations

import fcntl
import os

from pyro_mcp.guest.tasks.failures import TaskError
from pyro_mcp.protocol import tasks

STDIN, STDOUT, STDERR = 0, 1, 2
_GATHERED_BYTES = 128 * 1024
READ_BYTES = 1024 * 1024
# Enough for names and headers; larger data is better spliced than read.
_HEADERS_BYTES = 16 * 1024
# The most that any user may ask for (pipe(7)).
_PIPE_BYTES = 1024 * 1024


class Output:
    """The task's stdout."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held_bytes = 0

    def add(self, data: bytes) -> None:
        """Write bytes, some time."""
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._parts:
            write_all(STDOUT, b"".join(self._parts))
            self._parts.clear()
            self._held_bytes = 0


class Input:
    """The task's stdin, for one that knows how much is to come."""

    def __init__(self) -> None:
        widen(STDIN)
        self._held = bytearray()

    def copy_to(self, fd: int, count: int) -> None:
        """Write the next bytes to a file.

        Raises:
            TaskError: CUT_SHORT if there are not so many.
        """
        part = self._held[:count]
        del self._held[:count]
        write_all(fd, part)
        count -= len(part)
        while count:
            # Within the kernel, from the pipe to the file.
            moved = os.splice(STDIN, fd, min(count, READ_BYTES))
            if not moved:
                raise TaskError(tasks.CUT_SHORT, message="its input was cut short")
            count -= moved

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            TaskError: CUT_SHORT if there are not so many.
        """
        while len(self._held) < count:
            data = os.read(STDIN, _HEADERS_BYTES)
            if not data:
                raise TaskError(tasks.CUT_SHORT, message="its input was cut short")
            self._held += data
        part = bytes(self._held[:count])
        del self._held[:count]
        return part


def widen(fd: int) -> None:
    """Let a pipe hold more, so that its two ends wait for each other less often."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # Its user has too many such pipes.
        return


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of the bytes."""
    while data:
        data = data[os.write(fd, data) :]
