"""Decode a tar stream strictly, chunk by chunk.

Supports ustar, POSIX pax, GNU long names, and sparse files as GNU tar writes them (old GNU, and pax 1.0). The decoder
does no I/O: `TarDecoder.feed` yields what a chunk completed.

Anything ambiguous, or that no real program writes, is an error. Python's `tarfile` is not used because it treats a
damaged header as the end of the archive, and reads pax headers of any length into memory. Names are returned as stored:
the caller must check that they stay inside the tree.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from enum import StrEnum
from typing import NamedTuple

BLOCK_BYTES = 512
_MAX_HEADER_BYTES = 1024 * 1024
_MAX_LONG_NAME_BYTES = 64 * 1024
_MAX_SEGMENTS = 100_000
_MAX_SIZE = 1 << 62

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZEROES = bytes(BLOCK_BYTES)
_OLD_SPARSE_AT, _OLD_SPARSE_COUNT = 386, 4
_OLD_SPARSE_MORE_COUNT = 21
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,19}")
_TIME = re.compile(rb"(-?[0-9]{1,18})(?:\.([0-9]{1,30}))?")
# In a global header these would apply to every member; no legitimate archive does that.
_MEANT_FOR_ONE = (b"path", b"linkpath", b"size", b"GNU.sparse")


class TarError(ValueError):
    """The stream is damaged. The message completes "the archive …" and names the member."""


class TarFormatError(TarError):
    """The stream is valid, but uses a feature that is not supported."""


class MemberKind(StrEnum):
    """The kind of a member."""

    FILE = "a file"
    DIRECTORY = "a directory"
    SYMLINK = "a symbolic link"
    LINK = "a hard link"
    FIFO = "a fifo"
    CHARACTER_DEVICE = "a character device"
    BLOCK_DEVICE = "a block device"


class Member(NamedTuple):
    """A member's header. `size` is a file's full size; if `segments` is not None, only these parts of it follow."""

    name: bytes
    kind: MemberKind
    mode: int
    mtime_ns: int
    size: int
    target: bytes
    segments: tuple[tuple[int, int], ...] | None


class Piece(NamedTuple):
    """Content of the most recent member. The view is into the chunk that was fed."""

    offset: int
    data: memoryview


class _State(StrEnum):
    HEADER = "header"
    PAX = "pax header"
    LONG_NAME = "long name"
    OLD_SPARSE = "sparse header"
    SPARSE_MAP = "sparse map"
    CONTENT = "content"
    END = "end"


_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,
    b"1": MemberKind.LINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.CHARACTER_DEVICE,
    b"4": MemberKind.BLOCK_DEVICE,
    b"5": MemberKind.DIRECTORY,
    b"6": MemberKind.FIFO,
    b"S": MemberKind.FILE,
}


class TarDecoder:
    """The decoder of one stream."""

    def __init__(self) -> None:
        self._state = _State.HEADER
        self._held = bytearray()
        self._need = BLOCK_BYTES
        self._skip: int = 0
        self._pax: dict[bytes, bytes] = {}
        self._long: dict[bytes, bytes] = {}
        self._meta = b""
        self._meta_bytes = 0
        self._member: Member | None = None
        self._stored = 0
        self._segments: list[tuple[int, int]] = []
        self._map = bytearray()
        self._map_lines: int = 0
        self._map_wanted: int = 0
        self._padding: int = 0
        # The parts of the current file, the index of the current part, and how much of it has been read.
        self._parts: list[tuple[int, int]] = []
        self._part: int = 0
        self._within: int = 0
        self._zero_blocks = 0

    def feed(self, chunk: bytes | bytearray | memoryview) -> Generator[Member | Piece]:
        """Decode the next bytes of the stream, and yield the members and pieces they complete.

        Raises:
            TarError: if the stream is not a valid tar stream. Nothing may be fed after that.
        """
        view = memoryview(chunk)
        at, end = 0, len(view)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
            elif self._state is _State.CONTENT:
                offset, length = self._parts[self._part]
                step = min(length - self._within, end - at)
                yield Piece(offset + self._within, view[at : at + step])
                at += step
                self._advance(step)
            else:
                step = min(self._need - len(self._held), end - at)
                part = bytes(view[at : at + step])
                at += step
                if self._held or step < self._need:
                    self._held += part
                    if len(self._held) < self._need:
                        continue
                    part = bytes(self._held)
                    self._held.clear()
                member = self._take(part)
                if member is not None:
                    yield member

    @property
    def content_left(self) -> int:
        """Return how many contiguous bytes of a file's content come next."""
        return self._parts[self._part][1] - self._within if self._state is _State.CONTENT and not self._skip else 0

    @property
    def content_offset(self) -> int:
        """Return where in the file that content belongs."""
        return self._parts[self._part][0] + self._within

    def pass_over(self, count: int) -> None:
        """Skip `count` bytes of `content_left` that the caller has read from the stream itself."""
        self._advance(count)

    def finish(self, *, needs_end: bool = True) -> None:
        """Check that the stream may end here.

        Raises:
            TarError: if it is truncated. Without `needs_end` it may lack the two zero blocks that end an archive.
        """
        if self._held.strip(b"\0") and self._state is _State.END:
            raise TarError("goes on after its end")
        between = self._state is _State.HEADER and not self._held and not self._skip
        if self._state is _State.END or (between and not needs_end and not self._pax and not self._long):
            return
        where = f" within {_text(self._member.name)}" if self._member is not None and not between else ""
        raise TarError(f"is cut off{where}")

    def _take(self, block: bytes) -> Member | None:
        """Handle a complete block, or extended header."""
        match self._state:
            case _State.HEADER:
                return self._header(block)
            case _State.PAX | _State.LONG_NAME:
                self._extended(block)
                return None
            case _State.OLD_SPARSE:
                return self._old_sparse(block)
            case _State.SPARSE_MAP:
                return self._sparse_map(block)
            case _State.END | _State.CONTENT:
                if block != _ZEROES:
                    raise TarError("goes on after its end")
                return None

    def _header(self, block: bytes) -> Member | None:
        if block == _ZEROES:
            self._zero_blocks += 1
            if self._pax or self._long:
                raise TarError("ends after a header that belongs to a member")
            if self._zero_blocks == 2:
                self._state = _State.END
            return None
        if self._zero_blocks:
            raise TarError("goes on after its end")
        fields = _HEADER.unpack(block)
        kind: bytes = fields[7]
        _check_sum(block, fields[6])
        if kind in b"xgLK":
            self._begin_extended(kind, _number(fields[4], "size"))
            return None
        return self._begin_member(block, fields)

    def _begin_extended(self, kind: bytes, size: int) -> None:
        limit = _MAX_HEADER_BYTES if kind in b"xg" else _MAX_LONG_NAME_BYTES
        if not 0 < size <= limit or (kind in self._long if kind in b"LK" else kind == b"x" and self._pax):
            raise TarError("has an extended header of a wrong size, or twice")
        self._meta, self._meta_bytes = kind, size
        self._state = _State.PAX if kind in b"xg" else _State.LONG_NAME
        self._need = size + -size % BLOCK_BYTES

    def _extended(self, block: bytes) -> None:
        data = block[: self._meta_bytes]
        if self._state is _State.LONG_NAME:
            self._long[self._meta] = data.rstrip(b"\0")
        elif self._meta == b"x":
            self._pax = _pax_records(data)
        elif any(key.startswith(_MEANT_FOR_ONE) for key in _pax_records(data)):
            raise TarError("gives all its members one name or size")
        self._state, self._need = _State.HEADER, BLOCK_BYTES

    def _begin_member(self, block: bytes, fields: tuple[bytes, ...]) -> Member | None:
        pax, long = self._pax, self._long
        self._pax, self._long = {}, {}
        name = _cut(fields[0])
        # Only ustar has a prefix; GNU's own format has times in its place.
        if fields[9] == b"ustar\x0000" and fields[14][:1] != b"\0":
            name = _cut(fields[14]) + b"/" + name
        name = pax.get(b"path", long.get(b"L", name))
        target = pax.get(b"linkpath", long.get(b"K", _cut(fields[8])))
        kind = _KINDS.get(fields[7])
        if kind is None:
            raise TarFormatError(f"has a member of an unknown kind ({_text(fields[7])}): {_text(name)}")
        if kind is MemberKind.FILE and fields[7] != b"S" and name.endswith(b"/"):
            kind = MemberKind.DIRECTORY
        size = _decimal(pax[b"size"]) if b"size" in pax else _number(fields[4], "size")
        if not 0 <= size <= _MAX_SIZE:
            raise TarError(f"has a member of an impossible size: {_text(name)}")
        if size and kind is not MemberKind.FILE and kind is not MemberKind.DIRECTORY:
            # Programs disagree on whether a link's content follows: neither interpretation is safe.
            raise TarError(f"has content for {kind}: {_text(name)}")
        mtime_ns = _time_ns(pax[b"mtime"]) if b"mtime" in pax else _number(fields[5], "time") * 1_000_000_000
        mode = _number(fields[1], "mode") & 0o7777
        stored = size if kind is MemberKind.FILE else 0
        member = Member(name, kind, mode, mtime_ns, stored, target, None)
        self._member, self._stored = member, stored
        if fields[7] == b"S":
            return self._begin_old_sparse(member, block)
        if pax and any(key.startswith(b"GNU.sparse.") for key in pax):
            return self._begin_sparse(member, pax)
        return self._begin_content(member)

    def _begin_old_sparse(self, member: Member, block: bytes) -> Member | None:
        """Take the list of a sparse file's parts from GNU's own header; it may go on in the next block."""
        self._member = member._replace(size=_number(block[483:495], "size"))
        self._segments = _old_segments(block, _OLD_SPARSE_AT, _OLD_SPARSE_COUNT)
        if block[482]:
            self._state = _State.OLD_SPARSE
            return None
        return self._begin_sparse_content()

    def _old_sparse(self, block: bytes) -> Member | None:
        self._segments += _old_segments(block, 0, _OLD_SPARSE_MORE_COUNT)
        return None if block[504] else self._begin_sparse_content()

    def _begin_sparse(self, member: Member, pax: dict[bytes, bytes]) -> None:
        """Prepare for the list of a sparse file's parts, which stands before its content."""
        if (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise TarFormatError(f"has a sparse file in an outdated format: {_text(member.name)}")
        name = pax.get(b"GNU.sparse.name", member.name)
        size = _decimal(pax.get(b"GNU.sparse.realsize", b""))
        self._member = member._replace(name=name, size=size)
        self._map.clear()
        self._map_lines = self._map_wanted = 0
        self._state = _State.SPARSE_MAP

    def _sparse_map(self, block: bytes) -> Member | None:
        self._stored -= BLOCK_BYTES
        self._map += block
        self._map_lines += block.count(b"\n")
        if not self._map_wanted and self._map_lines:
            self._map_wanted = 1 + 2 * _decimal(bytes(self._map[: self._map.index(b"\n")]))
        limit = 1 + 2 * _MAX_SEGMENTS
        if self._stored < 0 or self._map_wanted > limit or (not self._map_wanted and len(self._map) > BLOCK_BYTES):
            raise TarError("has a sparse file whose list of parts is wrong")
        if not self._map_wanted or self._map_lines < self._map_wanted:
            return None
        numbers = [_decimal(line) for line in bytes(self._map).split(b"\n")[1 : self._map_wanted]]
        self._segments = list(zip(numbers[::2], numbers[1::2], strict=True))
        return self._begin_sparse_content()

    def _begin_sparse_content(self) -> Member:
        assert self._member is not None  # noqa: S101 - set on every path to here
        name, size = self._member.name, self._member.size
        end = 0
        for offset, length in self._segments:
            if offset < end or offset + length > size:
                raise TarError(f"has a sparse file whose parts overlap or lie outside: {_text(name)}")
            end = offset + length
        if len(self._segments) > _MAX_SEGMENTS:
            raise TarError(f"has a sparse file with more than {_MAX_SEGMENTS} parts: {_text(name)}")
        segments = tuple(segment for segment in self._segments if segment[1])
        if sum(length for _, length in segments) != self._stored:
            raise TarError(f"has a sparse file whose parts do not add up: {_text(name)}")
        return self._begin_content(self._member._replace(segments=segments))

    def _begin_content(self, member: Member) -> Member:
        self._member = member
        self._parts = [(0, member.size)] if member.segments is None else list(member.segments)
        self._part = self._within = 0
        self._state = _State.CONTENT if self._stored else _State.HEADER
        self._need = BLOCK_BYTES
        self._padding = -self._stored % BLOCK_BYTES
        return member

    def _advance(self, step: int) -> None:
        self._within += step
        if self._within == self._parts[self._part][1]:
            self._part += 1
            self._within = 0
            if self._part == len(self._parts):
                self._skip = self._padding
                self._state = _State.HEADER


def _check_sum(block: bytes, field: bytes) -> None:
    stated = _number(field, "checksum")
    # The field itself counts as eight spaces.
    found = sum(block) - sum(field) + 8 * 0x20
    # Some old programs summed signed characters.
    if stated not in {found, found - 256 * sum(byte >= 0x80 for byte in block)}:
        raise TarError("is damaged: a header's checksum is wrong")


def _number(field: bytes, what: str) -> int:
    """Return a number of a header: octal digits, or base 256 where the highest bit says so."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if abs(value) > _MAX_SIZE:
            raise TarError(f"is damaged: a header's {what} is out of bounds")
        return value
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise TarError(f"is damaged: a header's {what} is no number")
    return int(found[1] or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not _DECIMAL.fullmatch(digits):
        raise TarError("is damaged: an extended header's number is none")
    return int(digits)


def _time_ns(text: bytes) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise TarError("is damaged: an extended header's time is none")
    seconds = int(found[1]) * 1_000_000_000
    fraction = int((found[2] or b"0")[:9].ljust(9, b"0"))
    return seconds - fraction if text.startswith(b"-") else seconds + fraction


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header, each `LENGTH KEY=VALUE` and a newline."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = _decimal(data[at:space]) if space > 0 else 0
        record = data[space + 1 : at + length - 1]
        key, separator, value = record.partition(b"=")
        if length < 5 or at + length > len(data) or data[at + length - 1] != 0x0A or not separator or not key:
            raise TarError("is damaged: an extended header is none")
        records[key] = value
        at += length
    return records


def _old_segments(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    segments: list[tuple[int, int]] = []
    for start in range(at, at + 24 * count, 24):
        field = block[start : start + 24]
        if not field.strip(b"\0"):
            break
        offset, length = _number(field[:12], "offset"), _number(field[12:], "length")
        if offset < 0 or length < 0:
            raise TarError("has a sparse file whose parts lie outside")
        segments.append((offset, length))
    return segments


def _cut(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _text(name: bytes) -> str:
    return ascii(name[:200].decode("utf-8", "backslashreplace"))
