"""A host directory as the source of a tree. It may change while it is read.

Every name is opened relative to a descriptor of its directory, without following symbolic links, and the opened file is
examined rather than the listed name. Devices, fifos and sockets are not opened.

Symbolic links are copied as links. Unreadable files are an error that names them: a tree in which files are silently
missing would be worse than none.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors
from pyro_mcp.protocol.names import MAX_DEPTH, MAX_PATH_BYTES, join, shown_briefly
from pyro_mcp.protocol.tar_writer import data_segments
from pyro_mcp.trees.entries import KEPT_MODE, Bounds, Entry, Kind, Notes, Tally, TreeMode, data_bytes

if TYPE_CHECKING:
    from pyro_mcp.trees.exclusion import Exclusion

_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_MAX_NAMED = 10
# In a file with more segments than this, the remaining holes are read as zeroes.
_MAX_SEGMENTS = 50_000
# Errors for a name that was removed or replaced meanwhile: ENXIO for a socket, ELOOP and EINVAL for a link.
_CHANGED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ESTALE}
GONE = "changed while the tree was read, and was left out"
RETOUCHED = "changed while it was read"
OWN_FILES = "holds pyro-mcp's own files"


@dataclass(slots=True)
class Level:
    """A directory being read: its descriptor, its path in the tree, and its names."""

    fd: int
    path: bytes
    files: list[bytes] = field(default_factory=list[bytes])
    links: list[bytes] = field(default_factory=list[bytes])
    # Processed from the end.
    directories: list[bytes] = field(default_factory=list[bytes])


class DirectorySource:
    """A directory with its contents. The directories `avoid` are omitted wherever they occur."""

    mode = TreeMode.DIRECTORY

    def __init__(self, path: Path, *, avoid: Iterable[Path] = (), bounds: Bounds | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._avoid = _identities(avoid)
        self._tally = Tally(bounds or Bounds(), str(path))
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._unreadable: list[bytes] = []
        self.notes = Notes()
        #: The names excluded by the user.
        self.exclusion: Exclusion | None = None

    def use(self, scratch: Path) -> None:
        """Do nothing: no temporary files are needed."""

    def check(self) -> None:
        """Do nothing: a directory is read only once."""

    def items(self) -> Generator[Entry]:
        """Yield the tree: in each directory first files, then links, then directories, each sorted by name.

        Raises:
            PyroError: PERMISSION, naming the unreadable files; INVALID if it is too large or too deep; NOT_FOUND.
        """
        levels: list[Level] = []
        try:
            yield self._open_root(levels)
            while levels:
                level = levels[-1]
                yield from self._files(level)
                yield from self._links(level)
                if level.directories:
                    entry = self._enter(levels, level.directories.pop())
                    if entry is not None:
                        yield entry
                else:
                    os.close(levels.pop().fd)
        finally:
            for level in levels:
                os.close(level.fd)
        if self._unreadable:
            raise self._unreadable_error()

    def _open_root(self, levels: list[Level]) -> Entry:
        with os_errors(f"read the directory {self._path}"):
            # The directory itself, which the user named, may be a link; names in it are not followed.
            fd = os.open(self._path, _OPEN_DIRECTORY & ~os.O_NOFOLLOW)
            levels.append(Level(fd, b""))
            self._list(levels[0])
            return Entry(b"", Kind.DIRECTORY, 0o755, os.fstat(fd).st_mtime_ns)

    def _enter(self, levels: list[Level], name: bytes) -> Entry | None:
        """Open the next directory of the last level, or note why it is omitted."""
        path = self._child(levels[-1], name)
        if len(levels) > MAX_DEPTH:
            raise PyroError(
                ErrorCode.INVALID, f"{self._shown(path)} is more than {MAX_DEPTH} levels deep", hint="Leave it out."
            )
        try:
            fd = os.open(name, _OPEN_DIRECTORY, dir_fd=levels[-1].fd)
            level = Level(fd, path)
            levels.append(level)
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) in self._avoid:
                self.notes.skip(path, OWN_FILES)
                os.close(levels.pop().fd)
                return None
            self._list(level)
        except OSError as error:
            self._note_failure(error, path)
            return None
        self._tally.add(path)
        return Entry(path, Kind.DIRECTORY, found.st_mode & KEPT_MODE, found.st_mtime_ns)

    def _list(self, level: Level) -> None:
        with os.scandir(level.fd) as found:
            for entry in found:
                name = os.fsencode(entry.name)
                if entry.is_symlink():
                    level.links.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    level.directories.append(name)
                elif entry.is_file(follow_symlinks=False):
                    level.files.append(name)
                else:
                    self.notes.skip(join(level.path, name), _special(level.fd, name))
        self.select(level)
        level.files.sort()
        level.links.sort()
        level.directories.sort(reverse=True)

    def select(self, level: Level) -> None:
        """Remove the names to be omitted from a directory's listing."""
        if self.exclusion is None:
            return
        for names in (level.files, level.links, level.directories):
            is_directory = names is level.directories
            names[:] = [name for name in names if not self._excludes(join(level.path, name), is_directory=is_directory)]

    def _excludes(self, path: bytes, *, is_directory: bool) -> bool:
        if self.exclusion is None or not self.exclusion.names(path, is_directory=is_directory):
            return False
        self.notes.ignore(path, *measured(os.path.join(os.fsencode(self._path), path)))
        return True

    def _files(self, level: Level) -> Generator[Entry]:
        for name in level.files:
            path = self._child(level, name)
            try:
                fd = os.open(name, _OPEN_FILE, dir_fd=level.fd)
            except OSError as error:
                self._note_failure(error, path)
                continue
            with os_errors(f"read {self._shown(path)}"):
                try:
                    before = os.fstat(fd)
                    if not stat.S_ISREG(before.st_mode):
                        self.notes.change(path, GONE)
                    elif not self._unreadable:
                        yield self._file(fd, path, before)
                        after = os.fstat(fd)
                        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
                            self.notes.change(path, RETOUCHED)
                finally:
                    os.close(fd)
        level.files.clear()

    def _file(self, fd: int, path: bytes, found: os.stat_result) -> Entry:
        if found.st_nlink > 1:
            first = self._first_names.setdefault((found.st_dev, found.st_ino), path)
            if first is not path:
                self._tally.add(path)
                return Entry(path, Kind.LINK, found.st_mode & KEPT_MODE, found.st_mtime_ns, target=first)
        segments = None
        if found.st_blocks * 512 < found.st_size:
            segments = data_segments(fd, found.st_size, most=_MAX_SEGMENTS)
        mode = found.st_mode & KEPT_MODE
        entry = Entry(path, Kind.FILE, mode, found.st_mtime_ns, found.st_size, fd=fd, segments=segments)
        # Holes cost nothing, here or in the workspace; only untrusted sources are limited by the apparent size.
        self._tally.add(path, data_bytes(entry))
        return entry

    def _links(self, level: Level) -> Generator[Entry]:
        for name in level.links:
            path = self._child(level, name)
            try:
                target = os.readlink(name, dir_fd=level.fd)
                found = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except OSError as error:
                self._note_failure(error, path)
                continue
            self._tally.add(path)
            if not self._unreadable:
                yield Entry(path, Kind.SYMLINK, 0o777, found.st_mtime_ns, target=target)
        level.links.clear()

    def _child(self, level: Level, name: bytes) -> bytes:
        path = join(level.path, name)
        if len(path) > MAX_PATH_BYTES:
            what = f"{self._shown(path)} has a path of more than {MAX_PATH_BYTES} bytes"
            raise PyroError(ErrorCode.INVALID, what, hint="Leave it out.")
        return path

    def _note_failure(self, error: OSError, path: bytes) -> None:
        """Record names that can't be read or have been removed; raise any other error."""
        if isinstance(error, PermissionError):
            # From here on only names are collected, so that the error can list all of them.
            self._unreadable.append(path)
        elif error.errno in _CHANGED:
            self.notes.change(path, GONE)
        else:
            raise from_os_error(error, f"read {self._shown(path)}") from error

    def _unreadable_error(self) -> PyroError:
        names = [self._shown(path) for path in self._unreadable]
        listed = ", ".join(names[:_MAX_NAMED])
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        return PyroError(
            ErrorCode.PERMISSION,
            f"could not read {listed}{more}: Permission denied",
            hint="Make them readable, move them away, or use an archive of the files you need.",
            details={"paths": names[:_MAX_NAMED], "count": len(names)},
        )

    def _shown(self, path: bytes) -> str:
        return shown_briefly(os.fsencode(self._path) + b"/" + path)


def _identities(directories: Iterable[Path]) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for path in directories:
        try:
            state = os.stat(path)
        except OSError:
            continue
        found.add((state.st_dev, state.st_ino))
    return frozenset(found)


def _special(directory: int, name: bytes) -> str:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return GONE
    names = {
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a fifo",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
    return names.get(stat.S_IFMT(mode), GONE)


def measured(path: bytes) -> tuple[int, int]:
    """Return the number of files at a path and their total size. Unreadable ones are not counted."""
    count = size = 0
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for each in found:
                    if each.is_dir(follow_symlinks=False):
                        pending.append(each.path)
                    else:
                        count += 1
                        size += each.stat(follow_symlinks=False).st_size
        except NotADirectoryError:
            return 1, os.lstat(path).st_size
        except OSError:
            continue
    return count, size
