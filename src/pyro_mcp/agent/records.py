"""Parse the records written by a task. They are not trusted: kinds, sizes, names, order and counts are checked.

Nothing is kept beyond one incomplete record and what was requested.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, cast

from pyro_mcp.agent.answers import number
from pyro_mcp.agent.file_values import (
    ContentForm,
    DiffBounds,
    DiffEntry,
    DiffPart,
    DiffSide,
    Fetched,
    FileEntry,
    Ignored,
    IgnoredName,
)
from pyro_mcp.agent.messages import breach
from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import MAX_PATH_BYTES, MAX_TARGET_BYTES, NameRefusedError, clean_name

#: Yields the number of bytes that it needs next, negated at the start of a record, and is sent those bytes.
Parser: TypeAlias = "Generator[int, bytes]"

_KINDS = {
    tasks.FILE: FileKind.FILE,
    tasks.DIRECTORY: FileKind.DIRECTORY,
    tasks.LINK: FileKind.LINK,
    tasks.OTHER: FileKind.OTHER,
}
_FORMS = {form.value: form for form in ContentForm}
_ONE_PART = (ContentForm.WHOLE, ContentForm.BINARY, ContentForm.MOVED)
_MAX_PARTS = {**dict.fromkeys(_ONE_PART, 1), ContentForm.PARTS: tasks.MAX_PARTS}
_MAX_MODE = 0o7777
MAX_IGNORED_NAMES = 100
_NO_CONTENT = -1


class Records:
    """Feeds a stream to a parser. A parser never ends."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._buffer = bytearray()
        self._wanted = 0
        self._in_record = False
        self._want(next(parser))

    def feed(self, data: bytes) -> None:
        """Parse more of the stream.

        Raises:
            PyroError: PROTOCOL.
        """
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            part = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            self._want(self._parser.send(part))

    def finish(self) -> None:
        """Check that the stream may end here.

        Raises:
            PyroError: PROTOCOL if a record is incomplete.
        """
        if self._buffer or self._in_record:
            raise breach("a truncated record")

    def _want(self, count: int) -> None:
        self._wanted, self._in_record = abs(count), count > 0


def listing(entries: list[FileEntry], *, limit: int) -> Parser:
    """Parse the records of LIST."""
    last: bytes | None = None
    held = 0
    while True:
        kind, mode, size, mtime_ns, path_length, target_length = tasks.ENTRY.unpack((yield -tasks.ENTRY.size))
        held += path_length + target_length
        if len(entries) == limit or held > tasks.MAX_LISTING_BYTES:
            raise breach("a listing that is too long")
        path = yield from _path(path_length)
        target = yield from _target(kind, target_length)
        if last is not None and path <= last:
            raise breach("a listing out of order")
        last = path
        entries.append(FileEntry(path, _kind(kind), _size(size), _mode(mode), mtime_ns, target))


def fetched(
    paths: Sequence[bytes], found: dict[bytes, Fetched], *, max_file_bytes: int, max_total_bytes: int
) -> Parser:
    """Parse the records of FETCH."""
    last = -1
    total = 0
    while True:
        index, kind, mode, size, length = tasks.FETCHED.unpack((yield -tasks.FETCHED.size))
        if not last < index < len(paths):
            raise breach("a file that was not requested")
        last = index
        is_file = kind == tasks.FILE
        if (length != _NO_CONTENT) != is_file or length > min(max_file_bytes, _size(size)):
            raise breach("content that was not requested")
        total += max(length, 0)
        if total > max_total_bytes:
            raise breach("more content than was requested")
        data = (yield from _bytes(length)) if is_file else None
        found[paths[index]] = Fetched(_kind(kind), _mode(mode), size, data)


def differences(entries: list[DiffEntry], bounds: DiffBounds) -> Parser:
    """Parse the records of DIFF."""
    held = total = parts_held = 0
    seen: set[bytes] = set()

    def count(name_bytes: int, *content: int, part_count: int = 0) -> None:
        nonlocal held, total, parts_held
        held += name_bytes
        total += sum(content)
        parts_held += part_count
        if parts_held > tasks.MAX_PARTS:
            raise breach("a diff with too many parts")
        if held > tasks.MAX_LISTING_BYTES or total > bounds.max_total_bytes:
            raise breach("a diff that is too large")
        if max(content, default=0) > bounds.max_file_bytes:
            raise breach("a diff that is too large")

    while True:
        sides, path_length = tasks.DIFFERENCE.unpack((yield -tasks.DIFFERENCE.size))
        count(path_length)
        is_ignored = bool(sides & tasks.IGNORED)
        sides &= ~tasks.IGNORED
        if len(entries) == bounds.max_entries or not 0 < sides <= tasks.OLD | tasks.NEW:
            raise breach("a diff with too many entries, or one without sides")
        path = yield from _path(path_length)
        if path in seen:
            raise breach("a diff with a duplicate name")
        seen.add(path)
        old = (yield from _side(count)) if sides & tasks.OLD else None
        new = (yield from _side(count)) if sides & tasks.NEW else None
        form, parts = yield from _content(count)
        source = None
        if form is ContentForm.MOVED:
            source = _source(parts[0], old, new)
            parts = ()
        if any((part.old and not _is_file(old)) or (part.new and not _is_file(new)) for part in parts):
            raise breach("a diff with content of something other than a file")
        entries.append(DiffEntry(path, _change(old, new), old, new, form, parts, is_ignored, source))


def ignored(answer: Document) -> Ignored:
    """Return the ignored names of an answer; names of directories end with a slash.

    Raises:
        PyroError: PROTOCOL.
    """
    if "ignored" not in answer:
        # An older agent omits nothing.
        return Ignored()
    found: list[IgnoredName] = []
    names = answer.get("ignored_names", [])
    for each in cast("list[object]", names) if isinstance(names, list) else [None]:
        match each:
            case [str(name), bool(by_one_only)] if len(found) < MAX_IGNORED_NAMES and len(name) <= MAX_PATH_BYTES + 1:
                try:
                    found.append(IgnoredName(name.encode("utf-8", "surrogateescape"), by_one_only))
                except UnicodeEncodeError:
                    raise breach("a diff with impossible ignored names") from None
            case _:
                raise breach("a diff with impossible ignored names")
    count = number(answer, "ignored")
    if count < len(found):
        raise breach("an answer that lists more ignored names than its total")
    return Ignored(tuple(found), count, number(answer, "ignored_by_one"))


def marks(expected: bytes, seen: Callable[[], None]) -> Parser:
    """Parse the single mark that FREEZE writes, and call `seen`."""
    if (yield -len(expected)) != expected:
        raise breach(f"something other than {expected!r}")
    seen()
    yield -1
    raise breach(f"data after {expected!r}")


def _source(part: DiffPart, old: DiffSide | None, new: DiffSide | None) -> bytes | None:
    """Return where an added file was moved from, or None for a file that was moved away."""
    side = new if part.old else old
    if part.new or not _is_file(side) or (old is not None and new is not None):
        raise breach("a diff with an impossible move")
    try:
        if clean_name(part.old) != part.old:
            raise breach("a name that is not normalized")
    except NameRefusedError as error:
        raise breach(f"a name that {error}") from None
    return part.old or None


def _is_file(side: DiffSide | None) -> bool:
    return side is not None and side.kind is FileKind.FILE


def _side(count: Callable[..., None]) -> Generator[int, bytes, DiffSide]:
    kind, mode, size, target_length = tasks.SIDE.unpack((yield tasks.SIDE.size))
    count(target_length)
    target = yield from _target(kind, target_length)
    return DiffSide(_kind(kind), _mode(mode), _size(size), target)


def _content(count: Callable[..., None]) -> Generator[int, bytes, tuple[ContentForm, tuple[DiffPart, ...]]]:
    number, part_count = tasks.CONTENT.unpack((yield tasks.CONTENT.size))
    form = _FORMS.get(number)
    if form is None or part_count > _MAX_PARTS.get(form, 0) or (form in _ONE_PART and part_count != 1):
        raise breach("a diff with impossible content")
    count(0, part_count=part_count if form is ContentForm.PARTS else 0)
    parts: list[DiffPart] = []
    old_end = new_end = 0
    for _ in range(part_count):
        old_line, new_line, *lengths = tasks.PART.unpack((yield tasks.PART.size))
        count(0, *lengths)
        if old_line <= old_end or new_line <= new_end:
            raise breach("a diff with parts out of order")
        old_end, new_end = old_line, new_line
        old = yield from _bytes(lengths[0])
        new = yield from _bytes(lengths[1])
        parts.append(DiffPart(old_line, new_line, old, new))
    if not all(text.endswith(b"\n") or not text for part in parts[:-1] for text in (part.old, part.new)):
        raise breach("a diff with an incomplete line")
    return form, tuple(parts)


def _change(old: DiffSide | None, new: DiffSide | None) -> DiffChange:
    if old is None:
        return DiffChange.ADDED
    if new is None:
        return DiffChange.DELETED
    return DiffChange.MODIFIED if old.kind is new.kind else DiffChange.TYPE_CHANGED


def _bytes(length: int) -> Generator[int, bytes, bytes]:
    # The parser must not request zero bytes.
    return (yield length) if length else b""


def _path(length: int) -> Generator[int, bytes, bytes]:
    if length > MAX_PATH_BYTES:
        raise breach("a name that is too long")
    path = yield from _bytes(length)
    try:
        if clean_name(path) == path:
            return path
    except NameRefusedError as error:
        raise breach(f"a name that {error}") from None
    raise breach("a name that is not normalized")


def _target(kind: int, length: int) -> Generator[int, bytes, bytes | None]:
    if kind != tasks.LINK:
        if length:
            raise breach("a link target of something other than a link")
        return None
    if not 0 < length <= MAX_TARGET_BYTES:
        raise breach("a link with a target of invalid length")
    target = yield length
    if b"\0" in target:
        raise breach("a link whose target contains a NUL")
    return target


def _kind(number: int) -> FileKind:
    found = _KINDS.get(number)
    if found is None:
        raise breach(f"a file of unknown kind {number}")
    return found


def _size(size: int) -> int:
    if size < 0:
        raise breach("a file with a negative size")
    return size


def _mode(mode: int) -> int:
    if mode > _MAX_MODE:
        raise breach("an invalid mode")
    return mode
