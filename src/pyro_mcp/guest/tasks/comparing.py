"""Compare the workspace with its baseline: the task DIFF. No link is followed.

The baseline is a copy of the workspace's first disk, so in a guest an inode that is the same on both disks is a file
that was not changed, and an unchanged directory still has its names. On a host everything is compared.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.disks import BASELINE_DEVICE, WORKSPACE_DEVICE
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, OPEN_FILE
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.inode_tables import touched_inodes
from pyro_mcp.guest.tasks.listing import kind_of
from pyro_mcp.guest.tasks.streams import Output
from pyro_mcp.guest.tasks.walking import GONE, names_in, walk
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.names import MAX_DEPTH, MAX_PATH_BYTES, join

if TYPE_CHECKING:
    from collections.abc import Container

    from pyro_mcp.guest.tasks.area import Area
    from pyro_mcp.protocol.documents import Document

_CHUNK_BYTES = 256 * 1024
_NO_CONTENT = -1
_STRAIGHT = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS


class _Side(NamedTuple):
    kind: int
    mode: int
    size: int


class _Difference(NamedTuple):
    path: bytes
    old: _Side | None
    new: _Side | None


def compare_trees(area: Area, *, max_entries: int, max_file_bytes: int, max_total_bytes: int) -> Document:
    """Write the first differences, in the order of their paths."""
    new = os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)
    touched: Container[int] = _Everything()
    if area.grounds.is_machine:
        old = _baseline_disk()
        touched = _touched(new)
    else:
        old = _baseline_directory(area.grounds.baseline)
    comparison = _Comparison(new, old, touched, max_entries)
    comparison.run()
    differences = comparison.first()
    _DifferenceWriter(new, old, max_file_bytes, max_total_bytes).tell(differences)
    return {"total": comparison.total}


def _baseline_disk() -> int:
    """Mount the baseline for this process alone; it goes with it."""
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID
    try:
        root = syscalls.open_file_system("ext4", BASELINE_DEVICE, {"ro": "", "noload": ""}, attributes)
        return os.open(b".", OPEN_DIRECTORY, dir_fd=root)
    except OSError as error:
        raise TaskError(tasks.SYSTEM, message=f"the baseline can't be mounted: {error}") from None


def _baseline_directory(path: bytes | None) -> int:
    try:
        return os.open(path or b"", OPEN_DIRECTORY)
    except OSError as error:
        raise TaskError(tasks.SYSTEM, message=f"there is no baseline to compare with: {error.strerror}") from None


class _Everything:
    """All inodes: nothing is known of any."""

    def __contains__(self, number: object) -> bool:
        return True


def _touched(directory: int) -> Container[int]:
    syscalls.syncfs(directory)
    new, old = (os.open(device, os.O_RDONLY | os.O_CLOEXEC) for device in (WORKSPACE_DEVICE, BASELINE_DEVICE))
    try:
        found = touched_inodes(new, old)
    finally:
        os.close(new)
        os.close(old)
    return _Everything() if found is None else found


class _Comparison:
    def __init__(self, new: int, old: int, touched: Container[int], max_entries: int) -> None:
        self.total = 0
        self._new = new
        self._old = old
        self._touched = touched
        self._max_entries = max_entries
        self._found: list[_Difference] = []

    def run(self) -> None:
        """Go through both trees."""
        new, old = os.fstat(self._new), os.fstat(self._old)
        is_touched = new.st_ino in self._touched or new.st_ino != old.st_ino
        self._directories(b"", self._new, 0, is_touched=is_touched)

    def first(self) -> list[_Difference]:
        """Return the differences that there is room for, in the order of their paths."""
        # Files that the project had come before added ones: an install may add any number of files.
        self._found.sort(key=lambda each: (each.old is None, each.path))
        return sorted(self._found[: self._max_entries])

    def _directories(self, path: bytes, new: int, depth: int, *, is_touched: bool) -> None:
        """Compare two directories of the same path: all names if it was touched, else what is in it."""
        if depth > MAX_DEPTH or len(path) > MAX_PATH_BYTES:
            raise TaskError(tasks.TOO_LARGE, path[:MAX_PATH_BYTES])
        names = names_in(new)
        if is_touched:
            names = self._common(path, new, names, depth)
        for name, kind, inode in names:
            if inode in self._touched:
                self._pair(new, name, join(path, name), depth)
            elif kind == tasks.DIRECTORY:
                self._below(new, name, join(path, name), depth, is_touched=False)

    def _common(
        self, path: bytes, new: int, names: list[tuple[bytes, int, int]], depth: int
    ) -> list[tuple[bytes, int, int]]:
        """Tell what came and went in a directory, and return what is the same file on both sides, or may be."""
        try:
            directory = os.open(b".", OPEN_DIRECTORY, dir_fd=self._old) if not path else self._open_old(path)
        except OSError as error:
            raise failure(error, path) from None
        old = {name: (kind, inode) for name, kind, inode in names_in(directory)}
        os.close(directory)
        same: list[tuple[bytes, int, int]] = []
        for name, kind, inode in names:
            before = old.pop(name, None)
            if before is None:
                self._gathered(new, name, join(path, name), is_new=True)
            elif before == (kind, inode) and (kind != tasks.DIRECTORY or inode not in self._touched):
                same.append((name, kind, inode))
            else:
                self._pair(new, name, join(path, name), depth)
        for name in old:
            self._vanished(join(path, name))
        return same

    def _below(self, new: int, name: bytes, path: bytes, depth: int, *, is_touched: bool) -> None:
        try:
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=new)
        except OSError as error:
            if error.errno in GONE:
                return
            raise failure(error, path) from None
        try:
            self._directories(path, inner, depth + 1, is_touched=is_touched)
        finally:
            os.close(inner)

    def _pair(self, directory: int, name: bytes, path: bytes, depth: int) -> None:
        """Compare what stands under a name on both sides."""
        old = _state(self._old, path)
        if old is None:
            self._gathered(directory, name, path, is_new=True)
            return
        try:
            new = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        old_side, new_side = _side(old), _side(new)
        if old_side.kind != new_side.kind:
            self._add(path, old_side, new_side)
            if old_side.kind == tasks.DIRECTORY:
                self._vanished(path, with_itself=False)
            elif new_side.kind == tasks.DIRECTORY:
                self._gathered(directory, name, path, is_new=True, with_itself=False)
            return
        if old_side.mode != new_side.mode or not self._is_same(directory, name, path, old, new):
            self._add(path, old_side, new_side)
        if new_side.kind == tasks.DIRECTORY:
            self._below(directory, name, path, depth, is_touched=True)

    def _is_same(self, directory: int, name: bytes, path: bytes, old: os.stat_result, new: os.stat_result) -> bool:
        try:
            if stat.S_ISREG(new.st_mode):
                return old.st_size == new.st_size and self._has_same_content(directory, name, path)
            if stat.S_ISLNK(new.st_mode):
                return os.readlink(name, dir_fd=directory) == _target(self._old, path)
        except OSError as error:
            if error.errno in (*GONE, errno.EINVAL):
                return False
            raise failure(error, path) from None
        # Of a directory, what is in it is compared; of devices and the like, what they are.
        return stat.S_ISDIR(new.st_mode) or (old.st_rdev, stat.S_IFMT(old.st_mode)) == (
            new.st_rdev,
            stat.S_IFMT(new.st_mode),
        )

    def _has_same_content(self, directory: int, name: bytes, path: bytes) -> bool:
        ours = os.open(name, OPEN_FILE | os.O_NOFOLLOW, dir_fd=directory)
        try:
            if not stat.S_ISREG(os.fstat(ours).st_mode):
                return False
            theirs = self._open_old(path, OPEN_FILE)
            try:
                return _is_same_data(ours, theirs)
            finally:
                os.close(theirs)
        finally:
            os.close(ours)

    def _gathered(self, directory: int, name: bytes, path: bytes, *, is_new: bool, with_itself: bool = True) -> None:
        """Tell what is there on one side only: all files, and of directories those that have nothing in them."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._add_one(path, found, is_new=is_new)
                return
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
        except OSError as error:
            if error.errno in GONE:
                return
            raise failure(error, path) from None
        try:
            is_empty = True
            empty: dict[bytes, os.stat_result] = {}
            for each in walk(inner, path):
                is_empty = False
                above = each.path.rpartition(b"/")[0]
                empty.pop(above, None)
                try:
                    state = os.stat(each.name, dir_fd=each.directory, follow_symlinks=False)
                except OSError as error:
                    if error.errno in GONE:
                        continue
                    raise failure(error, each.path) from None
                if stat.S_ISDIR(state.st_mode):
                    empty[each.path] = state
                else:
                    self._add_one(each.path, state, is_new=is_new)
            for below, state in empty.items():
                self._add_one(below, state, is_new=is_new)
            if is_empty and with_itself:
                self._add_one(path, found, is_new=is_new)
        finally:
            os.close(inner)

    def _vanished(self, path: bytes, *, with_itself: bool = True) -> None:
        above, _, name = path.rpartition(b"/")
        directory = self._open_old(above) if above else os.dup(self._old)
        try:
            self._gathered(directory, name, path, is_new=False, with_itself=with_itself)
        finally:
            os.close(directory)

    def _open_old(self, path: bytes, flags: int = OPEN_DIRECTORY) -> int:
        return syscalls.openat2(self._old, path, flags, _STRAIGHT)

    def _add_one(self, path: bytes, found: os.stat_result, *, is_new: bool) -> None:
        side = _side(found)
        self._add(path, None if is_new else side, side if is_new else None)

    def _add(self, path: bytes, old: _Side | None, new: _Side | None) -> None:
        self.total += 1
        self._found.append(_Difference(path, old, new))
        if len(self._found) > 4 * self._max_entries + 1000:
            self._found = self.first()


class _DifferenceWriter:
    """Writes differences, with the texts of both sides as far as there is room."""

    def __init__(self, new: int, old: int, max_file_bytes: int, max_total_bytes: int) -> None:
        self._new = new
        self._old = old
        self._max_file_bytes = max_file_bytes
        self._room = max_total_bytes
        self._texts: dict[bytes, list[bytes | None]] = {}
        self._output = Output()

    def tell(self, differences: list[_Difference]) -> None:
        """Write them all, in their order."""
        for path, old, new in differences:
            # Of additions, no more is read than the changes leave room for.
            if old is not None:
                self._texts[path] = self._fitting(path, old, new)
        room = tasks.MAX_LISTING_BYTES
        for path, old, new in differences:
            targets = [
                _target(root, path) if side is not None and side.kind == tasks.LINK else b""
                for root, side in ((self._old, old), (self._new, new))
            ]
            room -= len(path) + sum(map(len, targets))
            if room < 0:
                break
            self._tell(path, old, new, targets)
        self._output.flush()

    def _tell(self, path: bytes, old: _Side | None, new: _Side | None, targets: list[bytes]) -> None:
        texts = self._texts.pop(path) if old is not None else self._fitting(path, old, new)
        sides = (tasks.OLD if old is not None else 0) | (tasks.NEW if new is not None else 0)
        self._output.add(tasks.DIFFERENCE.pack(sides, len(path)) + path)
        for side, target, text in zip((old, new), targets, texts, strict=True):
            if side is None:
                continue
            kind, mode, size = side
            length = _NO_CONTENT if text is None or kind != tasks.FILE else len(text)
            # It may have grown since it was looked at.
            header = tasks.SIDE.pack(kind, mode, max(size, length), len(target), length)
            self._output.add(header + target + (text if length > 0 and text is not None else b""))

    def _fitting(self, path: bytes, old: _Side | None, new: _Side | None) -> list[bytes | None]:
        """Return the texts of both sides, None for each if one is no text or they do not fit."""
        texts = [self._text(self._old, path, old), self._text(self._new, path, new)]
        total = sum(len(text) for text in texts if text is not None)
        if None in texts or total > self._room:
            return [None, None]
        self._room -= total
        return texts

    def _text(self, root: int, path: bytes, side: _Side | None) -> bytes | None:
        """Return the text of a side, b"" where there is no file, None if it is no text or there is no room for it."""
        if side is None or side.kind != tasks.FILE:
            return b""
        if side.size > min(self._max_file_bytes, self._room):
            return None
        try:
            fd = syscalls.openat2(root, path, OPEN_FILE | os.O_NOFOLLOW, _STRAIGHT)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            data = _read(fd, side.size)
        finally:
            os.close(fd)
        if b"\0" in data:
            return None
        try:
            data.decode()
        except UnicodeDecodeError:
            return None
        return data


def _side(found: os.stat_result) -> _Side:
    return _Side(kind_of(found.st_mode), stat.S_IMODE(found.st_mode), found.st_size)


def _state(root: int, path: bytes) -> os.stat_result | None:
    try:
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, _STRAIGHT)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise failure(error, path) from None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _target(root: int, path: bytes) -> bytes:
    """Return where a link leads; one that is gone has led nowhere, which a link must not."""
    try:
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, _STRAIGHT)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)
    except OSError:
        return b"?"


def _read(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        data = os.read(fd, size)
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _is_same_data(ours: int, theirs: int) -> bool:
    """Compare two files, but for where both have holes."""
    at = 0
    while True:
        at = min(_next_data(ours, at), _next_data(theirs, at))
        if at >= _END:
            return True
        data = os.pread(ours, _CHUNK_BYTES, at)
        if data != os.pread(theirs, _CHUNK_BYTES, at):
            return False
        if not data:
            return True
        at += len(data)


def _next_data(fd: int, at: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole follows
            return _END
        return at


_END = 1 << 62
