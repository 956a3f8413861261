"""Frames: the message boundaries in a byte stream.

A frame is `u32 length`, `u32 id`, `u8 kind`, body, little endian. The length counts the bytes that follow it and is
checked before anything is buffered.
"""

from __future__ import annotations

import struct

from pyro_mcp.protocol.wire import LANE_MAGIC, MAX_DATA_BYTES

_HEADER = struct.Struct("<IIB")
HEADER_BYTES = _HEADER.size
_AFTER_LENGTH = 5

#: A decoded frame: id, kind, body.
Frame = tuple[int, int, bytes]


class FrameError(ValueError):
    """A byte stream is not a valid stream of frames; the message says why."""


def encode(ident: int, kind: int, body: bytes = b"") -> bytes:
    """Return one frame."""
    return _HEADER.pack(_AFTER_LENGTH + len(body), ident, kind) + body


def encode_stream(ident: int, kind: int, data: bytes) -> bytes:
    """Return the frames that carry `data`, split so that none contains the magic that starts a session.

    The guest searches its input for the magic, so caller-supplied bytes must not contain it.
    """
    frames: list[bytes] = []
    start = 0
    while start < len(data):
        end = min(start + MAX_DATA_BYTES, len(data))
        found = data.find(LANE_MAGIC, start, end)
        if found >= 0:
            end = found + len(LANE_MAGIC) // 2
        frames.append(encode(ident, kind, data[start:end]))
        start = end
    return b"".join(frames)


class Decoder:
    """Splits a stream into frames. `limits` maps each permitted kind to the maximum length of its body."""

    __slots__ = ("_buffer", "_limits", "_needed")

    def __init__(self, limits: dict[int, int]) -> None:
        self._limits = limits
        self._buffer = bytearray()
        # The buffer is not parsed again until it holds this many bytes, so bytes that arrive one by one stay cheap.
        self._needed = HEADER_BYTES

    @property
    def buffered_bytes(self) -> int:
        """Return how many bytes of an incomplete frame are buffered: never more than the longest frame."""
        return len(self._buffer)

    @property
    def missing_bytes(self) -> int:
        """Return how many more bytes are needed to complete the current frame, or its header."""
        return self._needed - len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes of the stream, and return the frames that are now complete.

        Raises:
            FrameError: for a kind or a length that is not permitted. The stream is unusable afterwards.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer = bytearray()
        size = len(data)
        self._needed = HEADER_BYTES
        frames: list[Frame] = []
        at = 0
        while size - at >= HEADER_BYTES:
            length, ident, kind = _HEADER.unpack_from(data, at)
            limit = self._limits.get(kind)
            if limit is None:
                raise FrameError(f"a frame of unknown kind {kind}")
            if not _AFTER_LENGTH <= length <= _AFTER_LENGTH + limit:
                raise FrameError(f"a frame of kind {kind} with length {length}")
            end = at + 4 + length
            if end > size:
                self._needed = end - at
                break
            frames.append((ident, kind, data[at + HEADER_BYTES : end]))
            at = end
        if at < size:
            self._buffer += memoryview(data)[at:]
        return frames
