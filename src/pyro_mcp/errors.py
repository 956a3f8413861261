"""The one error type of the product and its closed set of codes.

An error is a stable code, a sentence of fact that names the object, a hint that says what to do, and details for
machines. Printing, logging and exit statuses are the surfaces' part.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class ErrorCode(StrEnum):
    """Name each kind of failure. Codes are public: they may be added, never renamed."""

    USAGE = "usage"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    CONFLICT = "conflict"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    MISSING_PROGRAM = "missing_program"
    PROGRAM_FAILED = "program_failed"
    PERMISSION = "permission"
    NO_SPACE = "no_space"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    GUEST_LOST = "guest_lost"
    PROTOCOL = "protocol"
    CORRUPT = "corrupt"
    BUILD_FAILED = "build_failed"
    UNSUPPORTED = "unsupported"
    INTERNAL = "internal"


class PyroError(Exception):
    """Say what is wrong, with which object, and what to do about it."""

    code: ErrorCode
    message: str
    hint: str
    details: Mapping[str, object]

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details) if details else {}

    def __reduce__(self) -> tuple[object, ...]:
        # Exception pickles by its positional arguments alone, which would lose the code and the hint.
        return (_rebuild, (type(self), self.code, self.message, self.hint, dict(self.details)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.value!r}, {self.message!r}, hint={self.hint!r})"

    def to_json(self) -> dict[str, object]:
        """Return the error as the JSON object that every surface shows."""
        document: dict[str, object] = {"code": self.code.value, "message": self.message, "hint": self.hint}
        if self.details:
            document["details"] = dict(self.details)
        return document


def _rebuild(kind: type[PyroError], code: ErrorCode, message: str, hint: str, details: dict[str, object]) -> PyroError:
    return kind(code, message, hint=hint, details=details)


_BY_ERRNO: dict[int, tuple[ErrorCode, str]] = {
    errno.ENOSPC: (
        ErrorCode.NO_SPACE,
        "Free some disk space (`pyro env prune` helps) and run the command again.",
    ),
    errno.EDQUOT: (
        ErrorCode.NO_SPACE,
        "The disk quota is used up: free some space and run the command again.",
    ),
    errno.EACCES: (ErrorCode.PERMISSION, "Check the owner and the mode of that path."),
    errno.EPERM: (ErrorCode.PERMISSION, "Check the owner and the mode of that path."),
    errno.EROFS: (
        ErrorCode.PERMISSION,
        (
            "That file system is read-only: choose another with PYRO_ENVIRONMENT_CACHE_DIR, PYRO_STATE_DIR"
            " or PYRO_RUNTIME_DIR."
        ),
    ),
    errno.ENOENT: (ErrorCode.NOT_FOUND, ""),
    errno.ENOTDIR: (ErrorCode.INVALID, ""),
    errno.EISDIR: (ErrorCode.INVALID, ""),
    errno.ELOOP: (ErrorCode.INVALID, "Symbolic links are not followed there."),
    errno.ENAMETOOLONG: (ErrorCode.INVALID, "Use a shorter path."),
    errno.EEXIST: (ErrorCode.CONFLICT, ""),
    errno.ENOTEMPTY: (ErrorCode.CONFLICT, ""),
    errno.EMFILE: (ErrorCode.UNAVAILABLE, "Too many open files in this process: raise it with ulimit -n."),
    errno.ENFILE: (ErrorCode.UNAVAILABLE, "Too many open files on this machine."),
    errno.EAGAIN: (ErrorCode.UNAVAILABLE, "The machine is short of processes or memory: see ulimit -u."),
    errno.ENOMEM: (ErrorCode.UNAVAILABLE, "The machine is out of memory."),
    errno.E2BIG: (ErrorCode.INVALID, "The argument list is too long: pass the data in a file or on stdin."),
}


def from_os_error(error: OSError, doing: str, *, hint: str = "") -> PyroError:
    """Turn an OSError into a PyroError. `doing` completes "could not …" and names the object."""
    code, default_hint = _BY_ERRNO.get(error.errno or 0, (ErrorCode.INTERNAL, ""))
    reason = error.strerror or str(error)
    details: dict[str, object] = {"errno": errno.errorcode.get(error.errno or 0, "unknown")}
    return PyroError(code, f"could not {doing}: {reason}", hint=hint or default_hint, details=details)


@contextmanager
def os_errors(doing: str, *, hint: str = "") -> Generator[None]:
    """Raise an OSError of the block as a PyroError; `doing` and `hint` are those of `from_os_error`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, doing, hint=hint) from error
