"""Locks between processes: flock on files that are never removed.

If a lock file could be removed, two processes could hold the lock at the same time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors
from pyro_mcp.host.files import closing_fd
from pyro_mcp.host.waiting import wait_until

_MAX_OWNER_BYTES = 32


@contextmanager
def file_lock(path: Path, *, shared: bool = False, timeout_s: float, waiting_for: str) -> Generator[int]:
    """Hold a lock on `path` and yield its descriptor; the directory must exist.

    `waiting_for` describes what the lock protects. With a timeout of 0 it is tried once. The kernel releases the lock
    when the process ends for any reason; a child keeps it only if the descriptor is passed to it.

    Raises:
        PyroError: BUSY, with the pid of the holder if known; PERMISSION and others.
    """
    with closing_fd(_open(path)) as fd:
        # Closing releases the lock, unless the descriptor was passed to a child, which then keeps it on purpose.
        _take(fd, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout_s, waiting_for)
        if not shared:
            _sign(fd, str(os.getpid()))
        try:
            yield fd
        finally:
            if not shared:
                _sign(fd, "")


def _open(path: Path) -> int:
    with os_errors(f"open the lock file {path}"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _take(fd: int, path: Path, kind: int, timeout_s: float, waiting_for: str) -> None:
    def attempt() -> bool:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise from_os_error(error, f"lock {path}") from error
        return True

    if gets_lock(attempt, timeout_s, waiting_for):
        return
    owner = os.pread(fd, _MAX_OWNER_BYTES, 0).decode("ascii", "replace").strip()
    busy = lock_is_held(waiting_for, f"process {owner}" if owner.isdigit() else "", timeout_s)
    raise PyroError(
        busy.code, busy.message, hint=busy.hint, details={"holder_pid": int(owner)} if owner.isdigit() else {}
    )


def gets_lock(attempt: Callable[[], bool], timeout_s: float, waiting_for: str) -> bool:
    """Try to take a lock until it succeeds or the time is up (0: once); return whether it was taken."""
    if attempt():
        return True
    try:
        if timeout_s > 0:
            wait_until(attempt, timeout_s=timeout_s, what=waiting_for, interval_s=0.02)
            return True
    except PyroError as error:
        if error.code is not ErrorCode.TIMEOUT:
            raise
    return False


def lock_is_held(waiting_for: str, holder: str, timeout_s: float) -> PyroError:
    """Return the error for a lock that another process holds."""
    waited = f" for more than {timeout_s:g} s" if timeout_s > 0 else ""
    return PyroError(
        ErrorCode.BUSY,
        f"{waiting_for} is in use by {holder or 'another process'}{waited}",
        hint="Wait until it has finished, or end it, and run the command again.",
    )


def _sign(fd: int, text: str) -> None:
    # The owner's pid is only used in messages: a full disk must not prevent the lock from being used.
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, text.encode("ascii"), 0)
    except OSError:
        return
