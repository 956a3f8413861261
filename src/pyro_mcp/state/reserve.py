"""Reserve space in the state directory, so that VMs and workspaces can be stopped and deleted on a full disk.

The database writes a log before any change, and records are replaced through new files: both need space and inodes,
which guests may have used up. The reserve is released piece by piece, since other processes use freed space too, and
restored when there is room.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.host.files import closing_fd
from pyro_mcp.host.paths import Paths, ensure_private_dir
from pyro_mcp.model.limits import MIN_FREE_BYTES

NAME = "reserve"
# Each piece also reserves an inode.
PIECES, _PIECE_BYTES = 16, 256 * 1024
# The requirements of opening the database, for its log and index.
_OPENING_BYTES, _OPENING_INODES = 128 * 1024, 4


def give_up_piece(paths: Paths) -> bool:
    """Free a piece of the reserve; return whether there was one."""
    for number in range(PIECES):
        with suppress(OSError):
            os.unlink(_piece(paths, number))
            return True
    return False


def make_room_to_open(paths: Paths) -> None:
    """Free a piece of the reserve if there is no room to open the database."""
    with suppress(OSError):
        found = os.statvfs(paths.state)
        # Some file systems (btrfs) don't count inodes and report 0 of 0.
        has_inodes = found.f_favail >= _OPENING_INODES or found.f_files == 0
        if found.f_bavail * found.f_frsize < _OPENING_BYTES or not has_inodes:
            give_up_piece(paths)


def take_reserve(paths: Paths) -> None:
    """Restore the reserve if the disk has room; otherwise do nothing."""
    # Piece 0 is released first and restored first.
    if os.path.exists(_piece(paths, 0)):
        return
    with suppress(OSError, PyroError):
        found = os.statvfs(paths.state)
        if found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
            return
        ensure_private_dir(paths.state / NAME)
        for number in reversed(range(PIECES)):
            _make_piece(_piece(paths, number))


def _piece(paths: Paths, number: int) -> Path:
    return paths.state / NAME / str(number)


def _make_piece(path: Path) -> None:
    with closing_fd(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)) as fd:
        # Not ftruncate(2), whose hole would reserve nothing.
        os.posix_fallocate(fd, 0, _PIECE_BYTES)
