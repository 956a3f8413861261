"""Keep the beginning and the end of a stream of any length, and count the bytes dropped in between."""

from __future__ import annotations


class OutputBuffer:
    """Keeps the first `head_bytes` and the last `tail_bytes` of a stream."""

    def __init__(self, head_bytes: int, tail_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self.total_bytes = 0

    def add(self, data: bytes) -> None:
        """Add more of the stream."""
        self.total_bytes += len(data)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data[-self._tail_bytes :] if self._tail_bytes else b""
            # In steps, so that small pieces do not each move the whole tail.
            if len(self._tail) > 2 * self._tail_bytes:
                del self._tail[: -self._tail_bytes]

    @property
    def truncated(self) -> bool:
        """Return whether anything was dropped."""
        return self.dropped_bytes > 0

    @property
    def dropped_bytes(self) -> int:
        """Return the number of bytes dropped between the beginning and the end."""
        return self.total_bytes - len(self._head) - len(self.tail)

    @property
    def head(self) -> bytes:
        """Return the beginning."""
        return bytes(self._head)

    @property
    def tail(self) -> bytes:
        """Return the end, without the bytes that are in `head`."""
        return bytes(self._tail[-self._tail_bytes :]) if self._tail_bytes else b""

    def data(self) -> bytes:
        """Return the bytes kept."""
        return bytes(self._head) + self.tail

    def text(self) -> str:
        """Return the text kept, with a line in place of the dropped bytes.

        Characters that were cut in two count as dropped; other bytes that are not UTF-8 become U+FFFD.
        """
        if not self.truncated:
            return (self._head + self.tail).decode("utf-8", "replace")
        head = _without_cut_character(self.head)
        tail = _without_cut_start(self.tail)
        dropped = self.total_bytes - len(head) - len(tail)
        lead = head.decode("utf-8", "replace")
        line_end = "" if lead.endswith("\n") or not lead else "\n"
        return f"{lead}{line_end}[… {dropped} bytes dropped …]\n{tail.decode('utf-8', 'replace')}"


_MAX_CHARACTER_BYTES = 4


def _without_cut_start(data: bytes) -> bytes:
    """Drop the rest of a UTF-8 sequence from the beginning."""
    for start in range(min(_MAX_CHARACTER_BYTES, len(data))):
        if not 0x80 <= data[start] < 0xC0:
            return data[start:]
    # Longer than any character, so not UTF-8 anyway.
    return data if len(data) >= _MAX_CHARACTER_BYTES else b""


def _without_cut_character(data: bytes) -> bytes:
    """Drop an incomplete UTF-8 sequence from the end."""
    for back in range(1, min(_MAX_CHARACTER_BYTES, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return data
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if back >= length else data[:-back]
    return data
