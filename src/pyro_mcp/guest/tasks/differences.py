"""Write the records of DIFF: differences, with as much of both files as the limits allow."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import OPEN_FILE
from pyro_mcp.guest.tasks.changed_parts import Part, changed_parts
from pyro_mcp.guest.tasks.ignoring import STRAIGHT
from pyro_mcp.guest.tasks.streams import Output
from pyro_mcp.protocol import tasks

# For larger texts only the differing parts are sent, if possible.
_SMALL_BYTES = 128 * 1024
_FLAGS = os.O_PATH | os.O_NOFOLLOW


class Side(NamedTuple):
    """The state of a name on one side."""

    kind: int
    mode: int
    size: int


class Difference(NamedTuple):
    """A name that differs. With `is_same` only its mode differs; `moved` is the path a file was moved from, or to."""

    path: bytes
    old: Side | None
    new: Side | None
    is_ignored: bool
    is_same: bool = False
    moved: bytes = b""

    def only(self, *, is_new: bool) -> Side | None:
        """Return the regular file of one side if the name does not exist on the other side."""
        side, other = (self.new, self.old) if is_new else (self.old, self.new)
        return side if other is None and side is not None and side.kind == tasks.FILE else None

    @property
    def rank(self) -> int:
        """Return the sort key: the project's own files come before added ones, of which there may be many."""
        return 2 * (self.old is None) + self.is_ignored

    @property
    def size(self) -> int:
        """Return the total size of its files."""
        return sum(side.size for side in (self.old, self.new) if side is not None and side.kind == tasks.FILE)


class _Content(NamedTuple):
    form: int
    parts: list[Part]


class DifferenceWriter:
    """Writes differences. Among equally important ones, the smaller come first."""

    def __init__(self, new: int, old: int, max_file_bytes: int, max_total_bytes: int, *, include_binary: bool) -> None:
        self._new = new
        self._old = old
        self._max_file_bytes = max_file_bytes
        self._room = max_total_bytes
        self._part_room = tasks.MAX_PARTS
        self._include_binary = include_binary
        self._output = Output()

    def write(self, differences: list[Difference]) -> None:
        """Write all differences, as far as the limit for names allows."""
        room = tasks.MAX_LISTING_BYTES
        for each in sorted(differences, key=lambda each: (each.rank, each.size, each.path)):
            targets = [
                link_target(root, each.path) if side is not None and side.kind == tasks.LINK else b""
                for root, side in ((self._old, each.old), (self._new, each.new))
            ]
            room -= len(each.path) + sum(map(len, targets))
            if room < 0:
                break
            self._write(each, targets)
        self._output.flush()

    def _write(self, each: Difference, targets: list[bytes]) -> None:
        if each.moved:
            source = each.moved if each.old is None else b""
            content = _Content(tasks.MOVED, [Part(1, 1, source, b"")])
        else:
            content = _Content(tasks.SAME, []) if each.is_same else self._content(each)
        sent = sum(len(part.old) + len(part.new) for part in content.parts)
        self._room -= sent
        self._part_room -= len(content.parts) if content.form == tasks.PARTS else 0
        flags = (tasks.OLD if each.old else 0) | (tasks.NEW if each.new else 0)
        flags |= tasks.IGNORED if each.is_ignored else 0
        self._output.add(tasks.DIFFERENCE.pack(flags, len(each.path)) + each.path)
        for side, target in zip((each.old, each.new), targets, strict=True):
            if side is not None:
                self._output.add(tasks.SIDE.pack(*side, len(target)) + target)
        self._output.add(tasks.CONTENT.pack(content.form, len(content.parts)))
        for part in content.parts:
            self._output.add(tasks.PART.pack(part.old_line, part.new_line, len(part.old), len(part.new)))
            self._output.add(part.old)
            self._output.add(part.new)

    def _content(self, each: Difference) -> _Content:
        old, new = (self._open(root, each.path, side) for root, side in ((self._old, each.old), (self._new, each.new)))
        try:
            is_binary = any(b"\0" in os.pread(fd, tasks.TEXT_CHECKED_BYTES, 0) for fd in (old, new) if fd >= 0)
            if is_binary and not self._include_binary:
                return _Content(tasks.NOT_TEXT, [])
            form = tasks.BINARY if is_binary else tasks.WHOLE
            is_large = each.size > min(_SMALL_BYTES, self._room)
            if not is_binary and is_large and old >= 0 and new >= 0:
                most = min(self._max_file_bytes, self._room, each.size)
                parts = changed_parts(old, new, max_bytes=most, max_parts=self._part_room)
                if parts is not None:
                    return _Content(tasks.PARTS, parts)
            texts = [self._whole(fd) for fd in (old, new)]
            if None in texts or sum(len(text or b"") for text in texts) > self._room:
                return _Content(tasks.NO_ROOM, [])
            return _Content(form, [Part(1, 1, texts[0] or b"", texts[1] or b"")])
        except OSError:
            return _Content(tasks.NO_ROOM, [])
        finally:
            for fd in (old, new):
                if fd >= 0:
                    os.close(fd)

    def _open(self, root: int, path: bytes, side: Side | None) -> int:
        """Open a regular file of one side; return -1 if there is none, or it was removed meanwhile."""
        if side is None or side.kind != tasks.FILE:
            return -1
        try:
            fd = syscalls.openat2(root, path, OPEN_FILE | os.O_NOFOLLOW, STRAIGHT)
        except OSError:
            return -1
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return -1

    def _whole(self, fd: int) -> bytes | None:
        """Return a whole file, b"" if there is none, or None if it exceeds the limits."""
        if fd < 0:
            return b""
        most = min(self._max_file_bytes, self._room)
        if os.fstat(fd).st_size > most:
            return None
        data = b""
        while len(data) <= most and (more := os.pread(fd, most + 1 - len(data), len(data))):
            data += more
        return data if len(data) <= most else None


def link_target(root: int, path: bytes) -> bytes:
    """Return the target of a link; "?" if it was removed meanwhile, since a target can't be empty."""
    try:
        fd = syscalls.openat2(root, path, _FLAGS, STRAIGHT)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)
    except OSError:
        return b"?"
