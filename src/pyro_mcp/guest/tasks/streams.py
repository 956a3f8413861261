"""The data of a task: what it reads from its stdin and writes to its stdout.

Owns gathering small pieces into large ones. Refuses to go on after an input that ended too early.
"""

from __future__ import annotations

import fcntl
import os

from pyro_mcp.guest.tasks.failures import TaskError
from pyro_mcp.protocol import tasks

STDIN, STDOUT, STDERR = 0, 1, 2
_GATHERED_BYTES = 128 * 1024
READ_BYTES = 1024 * 1024
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
        self._held = bytearray()

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            TaskError: CUT_SHORT if there are not so many.
        """
        while len(self._held) < count:
            data = os.read(STDIN, READ_BYTES)
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


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of the bytes."""
    while data:
        data = data[os.write(fd, data) :]
