"""Descriptors: opening regular files, without following links or waiting for a pipe, and closing what was opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error

#: To create a file, which must not exist.
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def open_regular(path: Path, what: str, *, writable: bool = False) -> int:
    """Open an existing regular file, not inherited by children. The caller closes it.

    Raises:
        PyroError: INVALID if it is anything but a regular file; NOT_FOUND, PERMISSION and others.
    """
    try:
        return open_plain(path, writable=writable)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise PyroError(
                ErrorCode.INVALID,
                f"{what} {path} is not a regular file",
                hint="Links, devices and pipes are not opened there. Remove it and run the command again.",
                details={"path": str(path)},
            ) from error
        raise from_os_error(error, f"open {what} {path}") from error


def open_plain(path: str | os.PathLike[str], *, writable: bool = False) -> int:
    """Do the same as `open_regular`, for a caller with an error of its own.

    Raises:
        OSError: EINVAL if it is no regular file; ELOOP if it is a link; what opening it raises.
    """
    access = os.O_RDWR if writable else os.O_RDONLY
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    fd = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def write_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of the data to a place of a file."""
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


@contextmanager
def closing_fd(fd: int) -> Generator[int]:
    """Yield a descriptor, and close it at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)
