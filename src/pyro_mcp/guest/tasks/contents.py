"""Read and write single files: the tasks READ, WRITE and FETCH. Only regular files are opened."""

from __future__ import annotations

import errno
import os
import stat

from pyro_mcp.guest.tasks.area import OPEN_FILE, Area
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.listing import kind_of
from pyro_mcp.guest.tasks.staging import StagedFile, resemble, settle, staging_name, staging_root
from pyro_mcp.guest.tasks.streams import STDOUT, Input, Output, write_all
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document

NEW_FILE_MODE = 0o644
_CHUNK_BYTES = 256 * 1024
_NO_CONTENT = -1
# How often to retry if a file is replaced between two system calls.
_ATTEMPTS = 20
# Errors that mean that the file does not exist, or a part of its path is missing or a link.
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


def write_file(area: Area, path: bytes, *, size: int, mode: int | None) -> Document:
    """Read a file's content from stdin, and put it in place atomically."""
    source = Input()
    root = staging_root(area) if area.is_one_disk else -1
    directory, name, path = area.place(path)
    if root < 0:
        root = directory
    before = state_of(directory, name)
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise TaskError(tasks.IS_DIRECTORY if stat.S_ISDIR(before.st_mode) else tasks.NOT_FILE, path)
    if mode is None:
        mode = NEW_FILE_MODE if before is None else stat.S_IMODE(before.st_mode)
    try:
        file = StagedFile(directory)
        try:
            source.copy_to(file.fd, size)
            resemble(file.fd, mode, before)
            file.write_out()
            _put(file, root if area.roots.is_machine else directory, directory, name)
            settle(root, [file], [directory])
        finally:
            file.close()
    except OSError as error:
        raise failure(error, path) from None
    return {"size": size, "mode": mode, "created": before is None}


def _put(file: StagedFile, staging: int, directory: int, name: bytes) -> None:
    """Give a file its name, replacing any existing file."""
    staged = staging_name()
    file.give_name(staging, staged)
    try:
        os.rename(staged, name, src_dir_fd=staging, dst_dir_fd=directory)
    except OSError:
        os.unlink(staged, dir_fd=staging)
        raise


def fetch_files(area: Area, *, count: int, max_file_bytes: int, max_total_bytes: int) -> Document:
    """Read names from stdin, and write an entry for each that exists. No link is followed."""
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
    """Open a path without following links; return -1 if it does not exist."""
    for _ in range(_ATTEMPTS):
        try:
            return area.open_straight(path, OPEN_FILE | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EXDEV):
                return -1
            if error.errno not in (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES):
                raise failure(error, path) from None
            was_denied = error.errno == errno.EACCES
        try:
            # A link, or a file that can't be opened.
            fd = area.open_straight(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _NOTHING:
                return -1
            raise failure(error, path) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        if was_denied:
            break
        # It was a link before, and was replaced: retry.
    raise TaskError(tasks.DENIED, path)


def _read(fd: int, most: int) -> bytes:
    data = os.read(fd, most)
    while 0 < len(data) < most:
        more = os.read(fd, most - len(data))
        if not more:
            break
        data += more
    return data


def state_of(directory: int, name: bytes) -> os.stat_result | None:
    """Return the status of a name, or None if it does not exist."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
