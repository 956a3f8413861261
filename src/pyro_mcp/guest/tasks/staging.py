"""Write files invisibly, then rename them into place; both are on the disk before the task answers.

A file's content reaches the disk before its name, so a crash in between leaves either the old file or the new one.
Temporary names are created in the root of the area, whose directory is locked (shared) meanwhile. Temporary files found
without a lock are leftovers of interrupted tasks and are removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import Area

# Errors of file systems without O_TMPFILE.
_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR)
_STAGED = re.compile(rb"\.pyro-[0-9a-f]{16}")
# For more files than this, syncfs(2) is faster.
_FEW = 8


class StagedFile:
    """A file that is being written, and has no visible name yet."""

    def __init__(self, directory: int) -> None:
        """Create it on the file system of a directory."""
        self._directory = directory
        self._name = b""
        try:
            self.fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.EPERM and not os.fstat(directory).st_nlink:
                # This is how ext4 reports a directory that was removed meanwhile.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            if error.errno not in _NO_UNNAMED_FILES:
                raise
            self._name = staging_name()
            self.fd = os.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)

    def give_name(self, directory: int, name: bytes) -> None:
        """Give it a name that is not in use."""
        if self._name:
            os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
            self._name = b""
        else:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=directory, follow_symlinks=True)

    def close(self) -> None:
        """Close it, and remove it if it was given no name."""
        os.close(self.fd)
        if self._name:
            os.unlink(self._name, dir_fd=self._directory)

    def write_out(self) -> None:
        """Write its content to the disk."""
        syscalls.write_out(self.fd)


def staging_name() -> bytes:
    """Return a new temporary name."""
    return b".pyro-" + os.urandom(8).hex().encode()


def staging_root(area: Area) -> int:
    """Open and lock the area's root for staging, after removing leftovers of interrupted tasks."""
    root = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=area.fd)
    with suppress(BlockingIOError):
        _sweep(root)
    with suppress(BlockingIOError):
        fcntl.flock(root, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return root


def sweep(path: str) -> None:
    """Remove leftovers of interrupted tasks from the root of an area."""
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sweep(root)
    except BlockingIOError:
        return
    finally:
        os.close(root)


def _sweep(root: int) -> None:
    fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for name in os.listdir(root):
        if name.startswith(".pyro-") and _STAGED.fullmatch(os.fsencode(name)):
            # The workload may have created something else with such a name, which stays.
            with suppress(OSError):
                _remove(root, name)


def _remove(root: int, name: str) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=root)
        return
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        for inner in os.listdir(directory):
            if inner.isdecimal():
                os.unlink(inner, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=root)


def write_out(root: int, files: list[StagedFile]) -> None:
    """Write the contents of files to the disk, before they are given their names."""
    if len(files) > _FEW:
        syscalls.syncfs(root)
    else:
        for file in files:
            file.write_out()


def settle(root: int, files: list[StagedFile], directories: Iterable[int]) -> None:
    """Write the names of files, and the files' metadata, to the disk."""
    fds = {*(file.fd for file in files), *directories}
    if len(fds) > _FEW:
        syscalls.syncfs(root)
    else:
        for fd in fds:
            os.fsync(fd)


def resemble(fd: int, mode: int, before: os.stat_result | None) -> None:
    """Set a file's mode, and the owner of the file that it replaces."""
    if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        # On a host, only root may change the owner.
        with suppress(PermissionError):
            os.fchown(fd, before.st_uid, before.st_gid)
    os.fchmod(fd, mode)
