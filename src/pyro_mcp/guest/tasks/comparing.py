"""Compare the workspace with its baseline: the task DIFF. No link is followed.

The baseline is a copy of the workspace's initial disk. In a guest, an inode that is identical on both disks therefore
belongs to an unchanged file, or to a directory with unchanged names. On a host, everything is compared.

Added files that are ignored are not examined. Everything in the baseline is compared, ignored or not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.disks import BASELINE_DEVICE, WORKSPACE_DEVICE
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, OPEN_FILE, Area
from pyro_mcp.guest.tasks.baseline import open_baseline
from pyro_mcp.guest.tasks.differences import Difference, DifferenceWriter, Side, link_target
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.ignoring import GIT, STRAIGHT, Ignored, LeftOut, Rules
from pyro_mcp.guest.tasks.inode_tables import touched_inodes
from pyro_mcp.guest.tasks.listing import kind_of
from pyro_mcp.guest.tasks.moves import moved_files
from pyro_mcp.guest.tasks.walking import GONE, names_in
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import MAX_DEPTH, MAX_PATH_BYTES, join

_CHUNK_BYTES = 256 * 1024


def compare_trees(
    area: Area,
    path: bytes,
    *,
    rules_above: tuple[Rules, ...],
    include_ignored: bool,
    include_binary: bool,
    max_entries: int,
    max_file_bytes: int,
    max_total_bytes: int,
) -> Document:
    """Write the first differences at or below a path, and return what was omitted because it is ignored."""
    new = os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)
    old = open_baseline(area.roots)
    touched = _touched(new) if area.roots.is_machine else _Everything()
    comparison = _Comparison(new, old, touched, max_entries, rules_above, include_ignored=include_ignored)
    comparison.run(path)
    writer = DifferenceWriter(new, old, max_file_bytes, max_total_bytes, include_binary=include_binary)
    writer.write(comparison.with_moves())
    return {"total": comparison.total, **comparison.left_out.report()}


class _Everything:
    """A container of all inodes, for when any may have changed."""

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
    def __init__(
        self,
        new: int,
        old: int,
        touched: Container[int],
        max_entries: int,
        rules_above: tuple[Rules, ...],
        *,
        include_ignored: bool,
    ) -> None:
        self.total = 0
        self.left_out = LeftOut()
        self._new = new
        self._old = old
        self._touched = touched
        self._max_entries = max_entries
        self._include_ignored = include_ignored
        self._ignored = Ignored(new, old, rules_above)
        self._found: list[Difference] = []

    def run(self, path: bytes) -> None:
        """Compare both trees, or only a path in both. A path that was given explicitly is compared even if ignored."""
        if not path:
            new, old = os.fstat(self._new), os.fstat(self._old)
            is_touched = new.st_ino in self._touched or new.st_ino != old.st_ino
            self._directories(b"", self._new, 0, is_touched=is_touched)
            return
        above, _, name = path.rpartition(b"/")
        new, old = _state(self._new, path), _state(self._old, path)
        found = new or old
        if found is None:
            raise TaskError(tasks.MISSING, path)
        verdict = self._ignored.verdict(path, is_directory=stat.S_ISDIR(found.st_mode))
        self._include_ignored |= verdict.is_ignored
        if new is None:
            self._vanished(path)
            return
        directory = syscalls.openat2(self._new, above or b".", OPEN_DIRECTORY, STRAIGHT)
        try:
            self._pair(directory, name, path, path.count(b"/"))
        finally:
            os.close(directory)

    def first(self) -> list[Difference]:
        """Return at most `max_entries` differences, the most important first."""
        self._found.sort(key=lambda each: (each.rank, each.path))
        return self._found[: self._max_entries]

    def with_moves(self) -> list[Difference]:
        """Return the first differences, with moved files marked."""
        first = self.first()
        gone = [(each.path, side.size) for each in first if (side := each.only(is_new=False))]
        added = [(each.path, side.size) for each in first if (side := each.only(is_new=True))]
        moved = moved_files(gone, added, _is_same_data, self._old, self._new)
        places = {**moved, **{source: path for path, source in moved.items()}}
        return [each._replace(moved=places.get(each.path, b"")) for each in first]

    def _is_left_out(self, path: bytes, *, is_directory: bool) -> bool:
        """Return whether an added name, or a repository, is omitted; count it if so."""
        if self._include_ignored:
            return False
        verdict = self._ignored.verdict(path, is_directory=is_directory)
        if verdict.is_ignored:
            self.left_out.add(path + b"/" * is_directory, by_one_only=verdict.by_one_only)
        return verdict.is_ignored

    def _is_repository(self, name: bytes, path: bytes, kind: int, *, is_same: bool) -> bool:
        """Return whether a name is a repository that is omitted; count it unless it is known to be unchanged."""
        if name != GIT or self._include_ignored:
            return False
        return is_same or self._is_left_out(path, is_directory=kind == tasks.DIRECTORY)

    def _directories(self, path: bytes, new: int, depth: int, *, is_touched: bool) -> None:
        """Compare two directories of the same path: all their names if touched, otherwise only their contents."""
        if depth > MAX_DEPTH or len(path) > MAX_PATH_BYTES:
            raise TaskError(tasks.TOO_LARGE, path[:MAX_PATH_BYTES])
        names = names_in(new)
        if is_touched:
            names = self._common(path, new, names, depth)
        for name, kind, inode in names:
            if self._is_repository(name, join(path, name), kind, is_same=inode not in self._touched):
                continue
            if inode in self._touched:
                self._pair(new, name, join(path, name), depth)
            elif kind == tasks.DIRECTORY:
                self._below(new, name, join(path, name), depth, is_touched=False)

    def _common(
        self, path: bytes, new: int, names: list[tuple[bytes, int, int]], depth: int
    ) -> list[tuple[bytes, int, int]]:
        """Record names that were added or removed in a directory; return those that may be unchanged."""
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
            elif before != (kind, inode) and self._is_repository(name, join(path, name), kind, is_same=False):
                continue
            elif before == (kind, inode) and (kind != tasks.DIRECTORY or inode not in self._touched or name == GIT):
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
        """Compare the files with the same name on both sides."""
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
        is_same = self._is_same(directory, name, path, old, new)
        if old_side.mode != new_side.mode or not is_same:
            self._add(path, old_side, new_side, is_same=is_same)
        if new_side.kind == tasks.DIRECTORY:
            self._below(directory, name, path, depth, is_touched=True)

    def _is_same(self, directory: int, name: bytes, path: bytes, old: os.stat_result, new: os.stat_result) -> bool:
        try:
            if stat.S_ISREG(new.st_mode):
                return old.st_size == new.st_size and self._has_same_content(directory, name, path)
            if stat.S_ISLNK(new.st_mode):
                return os.readlink(name, dir_fd=directory) == link_target(self._old, path)
        except OSError as error:
            if error.errno in (*GONE, errno.EINVAL):
                return False
            raise failure(error, path) from None
        # The contents of directories are compared separately; devices and the like by type and number.
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

    def _gathered(self, directory: int, name: bytes, path: bytes, *, is_new: bool, with_itself: bool = True) -> bool:
        """Record everything that exists on one side only: all files, and directories that are empty.

        Added names that are ignored are omitted. Return whether anything was recorded.
        """
        if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_DEPTH:
            raise TaskError(tasks.TOO_LARGE, path[:MAX_PATH_BYTES])
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            is_directory = stat.S_ISDIR(found.st_mode)
            if (is_new or name == GIT) and self._is_left_out(path, is_directory=is_directory):
                return False
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=directory) if is_directory else -1
        except OSError as error:
            if error.errno in GONE:
                return False
            raise failure(error, path) from None
        if not is_directory:
            self._add_one(path, found, is_new=is_new)
            return True
        left_out = self.left_out.count
        try:
            names = sorted(each[0] for each in names_in(inner))
            noted = [self._gathered(inner, each, join(path, each), is_new=is_new) for each in names]
        finally:
            os.close(inner)
        if any(noted):
            return True
        if self.left_out.count > left_out and with_itself:
            self.left_out.gather(left_out, path)
            return False
        if with_itself:
            self._add_one(path, found, is_new=is_new)
        return with_itself

    def _vanished(self, path: bytes, *, with_itself: bool = True) -> None:
        above, _, name = path.rpartition(b"/")
        directory = self._open_old(above) if above else os.dup(self._old)
        try:
            self._gathered(directory, name, path, is_new=False, with_itself=with_itself)
        finally:
            os.close(directory)

    def _open_old(self, path: bytes, flags: int = OPEN_DIRECTORY) -> int:
        return syscalls.openat2(self._old, path, flags, STRAIGHT)

    def _add_one(self, path: bytes, found: os.stat_result, *, is_new: bool) -> None:
        side = _side(found)
        self._add(path, None if is_new else side, side if is_new else None)

    def _add(self, path: bytes, old: Side | None, new: Side | None, *, is_same: bool = False) -> None:
        self.total += 1
        is_directory = (new or old or _NO_SIDE).kind == tasks.DIRECTORY
        is_ignored = self._ignored.verdict(path, is_directory=is_directory).is_ignored
        self._found.append(Difference(path, old, new, is_ignored, is_same))
        if len(self._found) > 4 * self._max_entries + 1000:
            self._found = self.first()


_NO_SIDE = Side(tasks.FILE, 0, 0)


def _side(found: os.stat_result) -> Side:
    return Side(kind_of(found.st_mode), stat.S_IMODE(found.st_mode), found.st_size)


def _state(root: int, path: bytes) -> os.stat_result | None:
    try:
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, STRAIGHT)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise failure(error, path) from None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _is_same_data(ours: int, theirs: int) -> bool:
    """Return whether two files of the same size are equal, skipping ranges that are holes in both."""
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
