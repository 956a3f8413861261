"""List files, and report disk usage: the tasks LIST and USAGE. No link is followed below the path."""

from __future__ import annotations

import errno
import os
import stat

from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, Area
from pyro_mcp.guest.tasks.failures import failure
from pyro_mcp.guest.tasks.streams import Output
from pyro_mcp.guest.tasks.walking import GONE, walk
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document


def list_files(
    area: Area, path: bytes, *, recursive: bool, limit: int, is_alone: bool = False, follow: bool = True
) -> Document:
    """Write an entry for each file below a directory; for any other file, or with `is_alone`, for the path itself."""
    fd = area.open(path, os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW)
    found = os.fstat(fd)
    listed = _Listed(limit)
    if stat.S_ISDIR(found.st_mode) and not is_alone:
        directory = os.open(b".", OPEN_DIRECTORY, dir_fd=fd)
        for each in walk(directory, path, recursive=recursive, limit=limit + 1):
            try:
                state = os.stat(each.name, dir_fd=each.directory, follow_symlinks=False)
                target = os.readlink(each.name, dir_fd=each.directory) if stat.S_ISLNK(state.st_mode) else b""
            except OSError as error:
                # It was removed, or is no longer a link.
                if error.errno in (*GONE, errno.EINVAL):
                    continue
                raise failure(error, each.path) from None
            if not listed.add(each.path, state, target):
                break
    else:
        listed.add(path, found, os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else b"")
    listed.output.flush()
    return {"truncated": listed.truncated}


class _Listed:
    def __init__(self, limit: int) -> None:
        self.output = Output()
        self.truncated = False
        self._room = limit
        self._room_bytes = tasks.MAX_LISTING_BYTES

    def add(self, path: bytes, found: os.stat_result, target: bytes) -> bool:
        """Write an entry; return False if the limit is reached."""
        self._room -= 1
        self._room_bytes -= len(path) + len(target)
        if self._room < 0 or self._room_bytes < 0:
            self.truncated = True
            return False
        header = tasks.ENTRY.pack(
            kind_of(found.st_mode),
            stat.S_IMODE(found.st_mode),
            found.st_size,
            _clamped(found.st_mtime_ns),
            len(path),
            len(target),
        )
        self.output.add(header + path + target)
        return True


def kind_of(mode: int) -> int:
    """Return the kind of a file (`protocol.tasks`) from its mode."""
    if stat.S_ISREG(mode):
        return tasks.FILE
    if stat.S_ISDIR(mode):
        return tasks.DIRECTORY
    return tasks.LINK if stat.S_ISLNK(mode) else tasks.OTHER


def _clamped(time_ns: int) -> int:
    limit = (1 << 63) - 1
    return min(max(time_ns, -limit), limit)


def usage(area: Area) -> Document:
    """Return the usage of the area's disk."""
    found = os.statvfs(area.fd)
    return {
        "total_bytes": found.f_blocks * found.f_frsize,
        "used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize,
        "free_bytes": found.f_bavail * found.f_frsize,
        "file_count": found.f_files - found.f_ffree,
        "free_file_count": found.f_favail,
    }
