"""Reading and writing single files.

Owns the tasks READ, WRITE and FETCH. Refuses to open anything but regular files, and to let one be seen half written.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from pyro_mcp.guest.tasks.area import OPEN_FILE
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.listing import kind_of
from pyro_mcp.guest.tasks.streams import STDOUT, Input, Output, write_all
from pyro_mcp.protocol import tasks

if TYPE_CHECKING:
    from pyro_mcp.guest.tasks.area import Area
    from pyro_mcp.protocol.documents import Document

NEW_FILE_MODE = 0o644
_CHUNK_BYTES = 256 * 1024
_NO_CONTENT = -1
# What file systems say that have none.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR)
# Nothing is there: not at its end, nor on the way, nor where a link could lead.
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)


def read_file(area: Area, path: bytes, *, max_bytes: int) -> Document:
    """Write the beginning of a file."""
    fd, found = area.open_file(path)
    left = max_bytes
    while left:
        data = os.read(fd, min(left, _CHUNK_BYTES))
        if not data:
            break
        write_all(STDOUT, data)
        left -= len(data)
    return {"size": found.st_size, "mode": stat.S_IMODE(found.st_mode)}


def write_file(area: Area, path: bytes, *, size: int) -> Document:
    """Read a file's content, and put it in its place at once."""
    source = Input()
    directory, name, path = area.place(path)
    before = state_of(directory, name)
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise TaskError(tasks.IS_DIRECTORY if stat.S_ISDIR(before.st_mode) else tasks.NOT_FILE, path)
    mode = NEW_FILE_MODE if before is None else stat.S_IMODE(before.st_mode)
    try:
        file = StagedFile(directory)
        try:
            source.copy_to(file.fd, size)
            resemble(file.fd, mode, before)
            _put(file, directory, name)
        finally:
            file.close()
    except OSError as error:
        raise failure(error, path) from None
    return {"size": size, "mode": mode, "created": before is None}


def _put(file: StagedFile, directory: int, name: bytes) -> None:
    """Give a file its name, whatever is under it."""
    staged = staging_name()
    file.give_name(directory, staged)
    try:
        os.rename(staged, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(staged, dir_fd=directory)
        raise


def fetch_files(area: Area, *, count: int, max_file_bytes: int, max_total_bytes: int) -> Document:
    """Read names, and write what stands there. No link is followed on the way."""
    source, output = Input(), Output()
    total = 0
    for index in range(count):
        (length,) = tasks.NAME.unpack(source.take(tasks.NAME.size))
        path = source.take(length)
        fd = _straight(area, path)
        if fd < 0:
            continue
        found = os.fstat(fd)
        kind, data = kind_of(found.st_mode), b""
        if kind == tasks.FILE:
            data = _read(fd, max_file_bytes)
            total += len(data)
            if total > max_total_bytes:
                raise TaskError(tasks.TOO_LARGE, path)
        os.close(fd)
        length = len(data) if kind == tasks.FILE else _NO_CONTENT
        size = max(found.st_size, len(data))
        output.add(tasks.FETCHED.pack(index, kind, stat.S_IMODE(found.st_mode), size, length) + data)
    output.flush()
    return {}


def _straight(area: Area, path: bytes) -> int:
    """Open what stands at a path; -1 if nothing does."""
    try:
        return area.open_straight(path, OPEN_FILE | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EXDEV):
            return -1
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES):
            raise failure(error, path) from None
    try:
        # A link, or what can't be opened.
        fd = area.open_straight(path, os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _NOTHING:
            return -1
        raise failure(error, path) from None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        raise TaskError(tasks.DENIED, path)
    return fd


def _read(fd: int, most: int) -> bytes:
    data = os.read(fd, most)
    while 0 < len(data) < most:
        more = os.read(fd, most - len(data))
        if not more:
            break
        data += more
    return data


def state_of(directory: int, name: bytes) -> os.stat_result | None:
    """Return what stands under a name, or None."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


class StagedFile:
    """A file that is being written, and that nobody sees until it is given its name."""

    def __init__(self, directory: int) -> None:
        """Make it, on the disk of a directory."""
        self._directory = directory
        self._name = b""
        try:
            self.fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.EPERM and not os.fstat(directory).st_nlink:
                # What ext4 says of a directory that was removed meanwhile.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            if error.errno not in _NO_UNNAMED_FILES:
                raise
            self._name = staging_name()
            self.fd = os.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)

    def give_name(self, directory: int, name: bytes) -> None:
        """Give it a name that is free."""
        if self._name:
            os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
            self._name = b""
        else:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=directory, follow_symlinks=True)

    def close(self) -> None:
        """Close it, and forget it if it has got no name."""
        os.close(self.fd)
        if self._name:
            os.unlink(self._name, dir_fd=self._directory)


def staging_name() -> bytes:
    """Return a name for what is there for a moment only."""
    return b".pyro-" + os.urandom(8).hex().encode()


def resemble(fd: int, mode: int, before: os.stat_result | None) -> None:
    """Give a file its mode, and the owner of the one that it replaces."""
    if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        # On a host, only root may.
        with suppress(PermissionError):
            os.fchown(fd, before.st_uid, before.st_gid)
    os.fchmod(fd, mode)
