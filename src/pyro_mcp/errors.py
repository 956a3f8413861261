"""The one error type of the product and its closed set of codes.

An error is a stable code, a sentence of fact that names the object, a hint that says what to do, and details for
machines. Printing, logging and exit statuses are the surfaces' part.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Self


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
    IS_DIRECTORY = "is_directory"
    TOO_LARGE = "too_large"


class PyroError(RuntimeError, ValueError):
    """Say what is wrong, with which object, and what to do about it.

    Making one makes the class of its code, so that `except NotFoundError` works for whatever was not found.

    Example: `except PyroError as error: print(error.code, error.message, error.hint)`
    """

    code: ErrorCode
    message: str
    hint: str
    details: Mapping[str, object]

    if not TYPE_CHECKING:  # a checker would ask for the signature of __init__

        def __new__(cls, code: object, *_: object, **__: object) -> Self:  # noqa: D102
            kinds = cls.__subclasses__() if cls is PyroError else []
            return super().__new__(next((kind for kind in kinds if kind.__dict__.get("kind") is code), cls))

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

    def __str__(self) -> str:
        return f"{self.message} [{self.code.value}]" + (f" {self.hint}" if self.hint else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.value!r}, {self.message!r}, hint={self.hint!r})"

    def to_json(self) -> dict[str, object]:
        """Return the error as the JSON object that every surface shows."""
        document: dict[str, object] = {"code": self.code.value, "message": self.message, "hint": self.hint}
        if self.details:
            document["details"] = dict(self.details)
        return document


class NotFoundError(PyroError):
    """Nothing of that name exists: an environment, a workspace, a file, a program."""

    kind = ErrorCode.NOT_FOUND


class InvalidError(PyroError):
    """An argument is of the wrong form, or out of bounds."""

    kind = ErrorCode.INVALID


class IsDirectoryError(PyroError):
    """A directory stands where a file is needed."""

    kind = ErrorCode.IS_DIRECTORY


class TooLargeError(PyroError):
    """Something is larger than it may be."""

    kind = ErrorCode.TOO_LARGE


class ConflictError(PyroError):
    """It is not in the state for that, or already exists."""

    kind = ErrorCode.CONFLICT


class BusyError(PyroError):
    """Somebody else is using it: try again later."""

    kind = ErrorCode.BUSY


class UnavailableError(PyroError):
    """This host, or the guest, can't do that at the moment."""

    kind = ErrorCode.UNAVAILABLE


class MissingProgramError(PyroError):
    """A program of the host is not installed."""

    kind = ErrorCode.MISSING_PROGRAM


class ProgramFailedError(PyroError):
    """A program of the host failed."""

    kind = ErrorCode.PROGRAM_FAILED


class NotPermittedError(PyroError):
    """The owner or the mode of a file forbids it."""

    kind = ErrorCode.PERMISSION


class NoSpaceError(PyroError):
    """A disk is full."""

    kind = ErrorCode.NO_SPACE


class TimedOutError(PyroError):
    """It took longer than it may."""

    kind = ErrorCode.TIMEOUT


class CancelledError(PyroError):
    """The call was cancelled."""

    kind = ErrorCode.CANCELLED


class GuestLostError(PyroError):
    """The guest ended during the call."""

    kind = ErrorCode.GUEST_LOST


class ProtocolError(PyroError):
    """The guest's answer makes no sense."""

    kind = ErrorCode.PROTOCOL


class CorruptError(PyroError):
    """Files of the product are damaged."""

    kind = ErrorCode.CORRUPT


class BuildFailedError(PyroError):
    """An environment could not be built."""

    kind = ErrorCode.BUILD_FAILED


class UnsupportedError(PyroError):
    """It is not supported here."""

    kind = ErrorCode.UNSUPPORTED


class InternalError(PyroError):
    """A defect of the product."""

    kind = ErrorCode.INTERNAL


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
