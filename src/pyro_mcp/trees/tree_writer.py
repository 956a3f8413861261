"""Create files below a host directory, with names chosen by a guest.

Each name is resolved one part at a time, descriptor by descriptor: no symbolic link is followed, and no existing file
is opened.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Self

from pyro_mcp.host.files import closing_fd

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
# Dates that some file systems can't represent are clamped.
_MAX_SECONDS = (1 << 33) - 1


class TreeWriter:
    """Creates files below the directory `fd`. Every method raises OSError; names are relative and validated."""

    def __init__(self, fd: int) -> None:
        self._top = fd
        self._umask = current_umask()
        # The directories on the path to the most recent name, with their descriptors.
        self._way: list[tuple[bytes, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._back_to(0)

    def make_directory(self, path: bytes, mode: int) -> None:
        """Create a directory that its owner can always enter, change and remove."""
        parent, name = self._place(path)
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        try:
            os.fchmod(fd, mode & 0o777 & ~self._umask | 0o700)
        except BaseException:
            os.close(fd)
            raise
        # The next entry is most likely in it.
        self._way.append((name, fd))

    def create(self, path: bytes) -> int:
        """Create an empty file and return its descriptor."""
        parent, name = self._place(path)
        return os.open(name, _CREATE, 0o600, dir_fd=parent)

    def complete(self, fd: int, size: int, mode: int, mtime_ns: int) -> None:
        """Set the size, mode and time of a file that was written."""
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
        os.fchmod(fd, mode & 0o777 & ~self._umask | 0o400)
        limit = _MAX_SECONDS * 1_000_000_000
        mtime_ns = min(max(mtime_ns, 0), limit)
        os.utime(fd, ns=(mtime_ns, mtime_ns))

    def open_file(self, path: bytes) -> int:
        """Open a created file for reading."""
        parent, name = self._place(path)
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)

    def link(self, target: bytes, path: bytes) -> None:
        """Create a hard link to a created file."""
        with closing_fd(self.open_file(target)) as source:
            # Through the descriptor: the name itself may lead elsewhere by now.
            parent, name = self._place(path)
            os.link(f"/proc/self/fd/{source}", name, dst_dir_fd=parent, follow_symlinks=True)

    def symlink(self, path: bytes, target: bytes) -> None:
        """Create a symbolic link."""
        parent, name = self._place(path)
        os.symlink(target, name, dir_fd=parent)

    def move_in(self, name: bytes, path: bytes) -> None:
        """Rename a file that was created at the top, to a name that must not exist."""
        parent, new_name = self._place(path)
        with suppress(FileNotFoundError):
            os.stat(new_name, dir_fd=parent, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(name, new_name, src_dir_fd=self._top, dst_dir_fd=parent)

    def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        parent, name = self._place(path)
        os.unlink(name, dir_fd=parent)

    def names_in(self, path: bytes) -> list[tuple[bytes, bool]]:
        """Return the names in a created directory, and whether each is a directory."""
        with os.scandir(self._enter(path)) as found:
            return [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in found]

    def _place(self, path: bytes) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return self._enter(parent), name

    def _enter(self, path: bytes) -> int:
        parts = path.split(b"/") if path else []
        shared = 0
        for (name, _), part in zip(self._way, parts, strict=False):
            if name != part:
                break
            shared += 1
        self._back_to(shared)
        for part in parts[shared:]:
            self._way.append((part, os.open(part, _OPEN_DIRECTORY, dir_fd=self._last())))
        return self._last()

    def _last(self) -> int:
        return self._way[-1][1] if self._way else self._top

    def _back_to(self, depth: int) -> None:
        while len(self._way) > depth:
            os.close(self._way.pop()[1])


def current_umask() -> int:
    """Return this process's umask; asking the kernel for it by umask(2) would change it for other threads."""
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077
