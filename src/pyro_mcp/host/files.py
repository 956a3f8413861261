"""Open regular files without following links or blocking on a fifo; write to and close descriptors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error

#: Flags for creating a file that must not exist yet.
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def open_regular(path: Path, what: str, *, writable: bool = False) -> int:
    """Open an existing regular file. The caller closes the descriptor, which children don't inherit.

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
                hint="Links, devices and pipes are not accepted. Remove it and run the command again.",
                details={"path": str(path)},
            ) from error
        raise from_os_error(error, f"open {what} {path}") from error


def open_plain(path: str | os.PathLike[str], *, writable: bool = False) -> int:
    """Like `open_regular`, but raise OSError, for callers with their own error message.

    Raises:
        OSError: EINVAL if it is not a regular file; ELOOP if it is a link; the errors of open(2).
    """
    access = os.O_RDWR if writable else os.O_RDONLY
    # Without O_NONBLOCK, opening a fifo would wait for its other end.
    fd = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def write_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of the data at an offset of a file."""
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
