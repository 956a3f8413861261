"""Errors of tasks, with the error codes of the protocol."""

from __future__ import annotations

import errno
import os

from pyro_mcp.protocol import tasks


class TaskError(Exception):
    """A failed task: an error code of `protocol.tasks`, the path concerned if any, and a message."""

    def __init__(self, code: str, path: bytes | None = None, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.path = path
        self.message = message


_CODES = {
    errno.ENOENT: tasks.MISSING,
    errno.EXDEV: tasks.OUTSIDE,
    errno.ELOOP: tasks.NOT_FILE,
    errno.ENXIO: tasks.NOT_FILE,
    errno.ENODEV: tasks.NOT_FILE,
    errno.ENOTDIR: tasks.NOT_DIRECTORY,
    errno.EISDIR: tasks.IS_DIRECTORY,
    errno.EEXIST: tasks.EXISTS,
    errno.ENOTEMPTY: tasks.EXISTS,
    errno.ENOSPC: tasks.NO_SPACE,
    errno.EDQUOT: tasks.NO_SPACE,
    errno.EACCES: tasks.DENIED,
    errno.EPERM: tasks.DENIED,
    errno.EROFS: tasks.DENIED,
    errno.ETXTBSY: tasks.BUSY,
    errno.EBUSY: tasks.BUSY,
    errno.EFBIG: tasks.TOO_LARGE,
    errno.ENAMETOOLONG: tasks.BAD_NAME,
    errno.EINVAL: tasks.BAD_NAME,
}


def failure(error: OSError, path: bytes | None) -> TaskError:
    """Return the error for a failed system call on a path in the area; None if it concerns no path."""
    number = error.errno or 0
    message = f"{errno.errorcode.get(number, '?')}: {error.strerror or error}"
    code = _CODES.get(number, tasks.SYSTEM)
    if path is None and code not in (tasks.NO_SPACE, tasks.DENIED):
        code = tasks.SYSTEM
    if path is not None and code == tasks.SYSTEM:
        message = f"{os.fsdecode(path)!r}: {message}"
    return TaskError(code, path, message)
