"""A task's stdin and stdout. Small writes are gathered into large ones."""

from __future__ import annotations

import fcntl
import os

from pyro_mcp.guest.tasks.failures import TaskError
from pyro_mcp.protocol import tasks

STDIN, STDOUT, STDERR = 0, 1, 2
_GATHERED_BYTES = 128 * 1024
READ_BYTES = 1024 * 1024
# Enough for names and headers; larger data should be spliced rather than read.
_HEADERS_BYTES = 16 * 1024
# The maximum for unprivileged users (pipe(7)).
_PIPE_BYTES = 1024 * 1024


class Output:
    """The task's stdout."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held_bytes = 0

    def add(self, data: bytes) -> None:
        """Queue bytes to be written."""
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the queued bytes."""
        if self._parts:
            write_all(STDOUT, b"".join(self._parts))
            self._parts.clear()
            self._held_bytes = 0


class Input:
    """The task's stdin, read by known lengths."""

    def __init__(self) -> None:
        widen(STDIN)
        self._held = bytearray()

    def copy_to(self, fd: int, count: int) -> None:
        """Copy the next `count` bytes to a file.

        Raises:
            TaskError: CUT_SHORT if stdin ends before that.
        """
        part = self._held[:count]
        del self._held[:count]
        write_all(fd, part)
        count -= len(part)
        while count:
            # Directly from the pipe to the file, inside the kernel.
            moved = os.splice(STDIN, fd, min(count, READ_BYTES))
            if not moved:
                raise TaskError(tasks.CUT_SHORT, message="its input was cut short")
            count -= moved

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            TaskError: CUT_SHORT if stdin ends before that.
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
    """Enlarge a pipe, so that its two ends wait for each other less often."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # The user's limit for pipe memory is exhausted.
        return


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all bytes."""
    while data:
        data = data[os.write(fd, data) :]
