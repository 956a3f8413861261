"""Copy the whole root of a stopped guest to one disk: the task EXPORT.

Owners, modes, times, extended attributes, hard links, holes and device nodes are preserved. The contents of /run,
/proc, /sys and /dev belong to a running system and are not copied.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.disks import BASELINE_DEVICE
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, OPEN_FILE, Area
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.walking import GONE, walk
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document

_CLOSED = frozenset({b"run", b"proc", b"sys", b"dev"})
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_SEND_BYTES = 16 * 1024 * 1024


def export_root(area: Area) -> Document:
    """Copy everything, and return how many bytes of the disk are used."""
    if not area.roots.inspecting:
        raise TaskError(tasks.UNSUPPORTED, message="only the root of a stopped guest can be copied")
    os.umask(0)
    try:
        attributes = syscalls.MOUNT_ATTR_NOATIME | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID
        output = syscalls.open_file_system("ext4", BASELINE_DEVICE, {"noinit_itable": ""}, attributes)
        target = os.open(b".", OPEN_DIRECTORY, dir_fd=output)
    except OSError as error:
        raise TaskError(tasks.SYSTEM, message=f"the target disk can't be mounted: {error}") from None
    source = os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)
    _Copy(source, target).run()
    syscalls.syncfs(target)
    found = os.statvfs(target)
    return {"bytes": (found.f_blocks - found.f_bfree) * found.f_frsize}


class _Copy:
    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._first_names: dict[tuple[int, int], bytes] = {}
        # The most recent directory: most files are in the same one as their predecessor.
        self._above = b""
        self._directory = target
        # Times of directories change when entries are added, so they are set last.
        self._times: list[tuple[bytes, int]] = []

    def run(self) -> None:
        """Copy everything."""
        for each in walk(self._source, b"", closed=_CLOSED):
            above, _, name = each.path.rpartition(b"/")
            try:
                self._copy(each.directory, name, self._open(above), each.path)
            except OSError as error:
                if error.errno in GONE:
                    raise TaskError(tasks.SYSTEM, message=f"{each.path!r} can't be read: {error.strerror}") from None
                raise failure(error, each.path) from None
        self._like(self._source, self._target, os.fstat(self._source))
        for path, mtime_ns in reversed(self._times):
            os.utime(self._open(path), ns=(mtime_ns, mtime_ns))
        mtime_ns = os.fstat(self._source).st_mtime_ns
        os.utime(self._target, ns=(mtime_ns, mtime_ns))

    def _open(self, path: bytes) -> int:
        """Open a copied directory. No other process writes to that disk."""
        if path != self._above:
            if self._directory != self._target:
                os.close(self._directory)
            self._above, self._directory = b"", self._target
            self._directory = os.open(path, OPEN_DIRECTORY, dir_fd=self._target) if path else self._target
            self._above = path
        return self._directory

    def _copy(self, source: int, name: bytes, target: int, path: bytes) -> None:
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            self._copy_directory(source, name, target, path)
            return
        if found.st_nlink > 1:
            first = self._first_names.setdefault((found.st_dev, found.st_ino), path)
            if first is not path:
                os.link(first, name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
                return
        if stat.S_ISREG(mode):
            self._copy_file(source, name, target)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, mode, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
        os.utime(name, ns=(found.st_mtime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _copy_directory(self, source: int, name: bytes, target: int, path: bytes) -> None:
        os.mkdir(name, 0o700, dir_fd=target)
        ours, theirs = (os.open(name, OPEN_DIRECTORY, dir_fd=directory) for directory in (source, target))
        try:
            found = os.fstat(ours)
            self._like(ours, theirs, found)
        finally:
            os.close(ours)
            os.close(theirs)
        self._times.append((path, found.st_mtime_ns))

    def _copy_file(self, source: int, name: bytes, target: int) -> None:
        ours = os.open(name, OPEN_FILE | os.O_NOFOLLOW, dir_fd=source)
        try:
            theirs = os.open(name, _CREATE, 0o600, dir_fd=target)
            try:
                found = os.fstat(ours)
                _copy_content(ours, theirs, found)
                self._like(ours, theirs, found)
                os.utime(theirs, ns=(found.st_mtime_ns, found.st_mtime_ns))
            finally:
                os.close(theirs)
        finally:
            os.close(ours)

    def _like(self, ours: int, theirs: int, found: os.stat_result) -> None:
        """Copy owner, mode and extended attributes, in this order, since each may reset the following ones."""
        if found.st_uid or found.st_gid:
            os.fchown(theirs, found.st_uid, found.st_gid)
        os.fchmod(theirs, stat.S_IMODE(found.st_mode))
        for attribute in os.listxattr(ours):
            # The attribute was removed meanwhile, or the target file system does not support it.
            with suppress(OSError):
                os.setxattr(theirs, attribute, os.getxattr(ours, attribute))


def _copy_content(ours: int, theirs: int, found: os.stat_result) -> None:
    size = found.st_size
    at = 0
    while at < size:
        end = size
        if found.st_blocks * 512 < size:
            try:
                at = os.lseek(ours, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole follows
                    break
                raise
            end = min(os.lseek(ours, at, os.SEEK_HOLE), size)
            os.lseek(theirs, at, os.SEEK_SET)
        while at < end:
            sent = os.sendfile(theirs, ours, at, min(end - at, _SEND_BYTES))
            if not sent:
                break
            at += sent
        if at < end:
            break
    os.ftruncate(theirs, size)
