"""The output of a child process, kept within bounds.

The middle of a long output and the end of a long line are dropped, and marked as dropped.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_LINE_BYTES = 8192


class BoundedOutput:
    """Keep the first and the last part of a byte stream: `limit_bytes` of it at most."""

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "dropped_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._head_limit = limit_bytes - limit_bytes // 2
        self._tail_limit = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped_bytes = 0

    def add(self, data: bytes) -> None:
        """Take in the next piece of the stream."""
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self.dropped_bytes += excess

    def value(self) -> bytes:
        """Return what was kept, head and tail joined."""
        return bytes(self._head + self._tail)


class LineSplitter:
    r"""Cut a byte stream into text lines at \n and \r, and hand each on."""

    __slots__ = ("_on_line", "_rest")

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take in the next piece of the stream."""
        *lines, rest = (self._rest + data.replace(b"\r", b"\n")).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            self._emit(line)

    def finish(self) -> None:
        """Hand on what follows the last line end."""
        rest, self._rest = self._rest, b""
        self._emit(rest)

    def _emit(self, line: bytes) -> None:
        if line:
            self._on_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))
