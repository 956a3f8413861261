"""Create directories, and move and remove files: the tasks MKDIR, MOVE and REMOVE."""

from __future__ import annotations

import os
import stat

from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, Area
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document


def make_directory(area: Area, path: bytes) -> Document:
    """Create a directory and its missing parents."""
    os.umask(0o022)
    area.make_directory(path)
    return {}


def move_file(area: Area, path: bytes, target: bytes) -> Document:
    """Rename a file or a directory; a file at the target is replaced."""
    source_directory, name = _place(area, path)
    above, _, new_name = target.rpartition(b"/")
    directory = area.make_directory(above)
    try:
        os.rename(name, new_name or b".", src_dir_fd=source_directory, dst_dir_fd=directory)
    except OSError as error:
        raise failure(error, path if isinstance(error, FileNotFoundError) else target) from None
    return {}


def remove_file(area: Area, path: bytes, *, recursive: bool) -> Document:
    """Remove a file or, if `recursive`, a directory with its contents."""
    directory, name = _place(area, path)
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
        elif recursive:
            _remove_tree(directory, name)
        else:
            raise TaskError(tasks.IS_DIRECTORY, path)
    except OSError as error:
        raise failure(error, path) from None
    return {}


def _place(area: Area, path: bytes) -> tuple[int, bytes]:
    """Return the directory of a path, and its name there."""
    above, _, name = path.rpartition(b"/")
    if not name:
        raise TaskError(tasks.IS_DIRECTORY, path)
    return area.open(above, os.O_RDONLY | os.O_DIRECTORY), name


def _remove_tree(directory: int, name: bytes | str) -> None:
    fd = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _remove_tree(fd, entry.name)
                else:
                    os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=directory)
