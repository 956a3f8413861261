"""Parse the records that a task writes. They come from a stranger: kinds, sizes, names, order and amounts are checked.

No more is kept than one incomplete record and what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

from pyro_mcp.agent.file_values import DiffEntry, DiffSide, Fetched, FileEntry
from pyro_mcp.agent.messages import breach
from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.names import MAX_PATH_BYTES, MAX_TARGET_BYTES, NameRefusedError, clean_name

#: Yields how many bytes it wants next, and is sent them; of a record's first ones, the negative of their number.
Parser: TypeAlias = "Generator[int, bytes]"

_KINDS = {
    tasks.FILE: FileKind.FILE,
    tasks.DIRECTORY: FileKind.DIRECTORY,
    tasks.LINK: FileKind.LINK,
    tasks.OTHER: FileKind.OTHER,
}
_MAX_MODE = 0o7777
_NO_CONTENT = -1


class Records:
    """A stream that a parser takes apart. A parser never ends."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._buffer = bytearray()
        self._wanted = 0
        self._in_record = False
        self._want(next(parser))

    def feed(self, data: bytes) -> None:
        """Take more of the stream.

        Raises:
            PyroError: PROTOCOL.
        """
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            part = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            self._want(self._parser.send(part))

    def finish(self) -> None:
        """Say that the stream has ended.

        Raises:
            PyroError: PROTOCOL if it was in the middle of a record.
        """
        if self._buffer or self._in_record:
            raise breach("a record that is cut off")

    def _want(self, count: int) -> None:
        self._wanted, self._in_record = abs(count), count > 0


def listing(entries: list[FileEntry], *, limit: int) -> Parser:
    """Take apart what LIST writes."""
    last: bytes | None = None
    held = 0
    while True:
        kind, mode, size, mtime_ns, path_length, target_length = tasks.ENTRY.unpack((yield -tasks.ENTRY.size))
        held += path_length + target_length
        if len(entries) == limit or held > tasks.MAX_LISTING_BYTES:
            raise breach("a listing longer than it may be")
        path = yield from _path(path_length)
        target = yield from _target(kind, target_length)
        if last is not None and path <= last:
            raise breach("a listing out of order")
        last = path
        entries.append(FileEntry(path, _kind(kind), _size(size), _mode(mode), mtime_ns, target))


def fetched(
    paths: Sequence[bytes], found: dict[bytes, Fetched], *, max_file_bytes: int, max_total_bytes: int
) -> Parser:
    """Take apart what FETCH writes."""
    last = -1
    total = 0
    while True:
        index, kind, mode, size, length = tasks.FETCHED.unpack((yield -tasks.FETCHED.size))
        if not last < index < len(paths):
            raise breach("a file that was not asked for")
        last = index
        is_file = kind == tasks.FILE
        if (length != _NO_CONTENT) != is_file or length > min(max_file_bytes, _size(size)):
            raise breach("content that was not asked for")
        total += max(length, 0)
        if total > max_total_bytes:
            raise breach("more content than was asked for")
        data = (yield from _bytes(length)) if is_file else None
        found[paths[index]] = Fetched(_kind(kind), _mode(mode), size, data)


def differences(entries: list[DiffEntry], *, max_entries: int, max_file_bytes: int, max_total_bytes: int) -> Parser:
    """Take apart what DIFF writes."""
    held = total = 0
    last: bytes | None = None

    def count(target_length: int, length: int) -> None:
        nonlocal held, total
        held += target_length
        total += max(length, 0)
        if held > tasks.MAX_LISTING_BYTES or total > max_total_bytes or length > max_file_bytes:
            raise breach("a diff larger than it may be")

    while True:
        sides, path_length = tasks.DIFFERENCE.unpack((yield -tasks.DIFFERENCE.size))
        count(path_length, _NO_CONTENT)
        if len(entries) == max_entries or not 0 < sides <= tasks.OLD | tasks.NEW:
            raise breach("a diff with too many entries, or one without sides")
        path = yield from _path(path_length)
        if last is not None and path <= last:
            raise breach("a diff out of order")
        last = path
        old = (yield from _side(count)) if sides & tasks.OLD else None
        new = (yield from _side(count)) if sides & tasks.NEW else None
        entries.append(DiffEntry(path, _change(old, new), old, new))


def marks(expected: bytes, seen: Callable[[], None]) -> Parser:
    """Take the one word that FREEZE writes."""
    if (yield -len(expected)) != expected:
        raise breach("another word than was agreed on")
    seen()
    yield -1
    raise breach("more words than were agreed on")


def _side(count: Callable[[int, int], None]) -> Generator[int, bytes, DiffSide]:
    kind, mode, size, target_length, length = tasks.SIDE.unpack((yield tasks.SIDE.size))
    count(target_length, length)
    if length < _NO_CONTENT or length > _size(size) or (length >= 0 and kind != tasks.FILE):
        raise breach("a diff with impossible content")
    target = yield from _target(kind, target_length)
    content = (yield from _bytes(length)) if length >= 0 else None
    return DiffSide(_kind(kind), _mode(mode), size, target, content)


def _change(old: DiffSide | None, new: DiffSide | None) -> DiffChange:
    if old is None:
        return DiffChange.ADDED
    if new is None:
        return DiffChange.DELETED
    return DiffChange.MODIFIED if old.kind is new.kind else DiffChange.TYPE_CHANGED


def _bytes(length: int) -> Generator[int, bytes, bytes]:
    # Nothing is to be waited for where nothing is to come.
    return (yield length) if length else b""


def _path(length: int) -> Generator[int, bytes, bytes]:
    if length > MAX_PATH_BYTES:
        raise breach("a name longer than it may be")
    path = yield from _bytes(length)
    try:
        if clean_name(path) == path:
            return path
    except NameRefusedError as error:
        raise breach(f"a name that {error}") from None
    raise breach("a name that is not in its simplest form")


def _target(kind: int, length: int) -> Generator[int, bytes, bytes | None]:
    if kind != tasks.LINK:
        if length:
            raise breach("a target of what is no link")
        return None
    if not 0 < length <= MAX_TARGET_BYTES:
        raise breach("a link without a possible target")
    target = yield length
    if b"\0" in target:
        raise breach("a link whose target holds a NUL")
    return target


def _kind(number: int) -> FileKind:
    found = _KINDS.get(number)
    if found is None:
        raise breach(f"a file of the unknown kind {number}")
    return found


def _size(size: int) -> int:
    if size < 0:
        raise breach("a file of a negative size")
    return size


def _mode(mode: int) -> int:
    if mode > _MAX_MODE:
        raise breach("permissions that are none")
    return mode
