"""Locks by name: any number of them in one file that never grows and is never removed.

Owns locks between processes for things that come and go, such as VMs and templates. A name is a byte of the file,
chosen by hashing it, and the lock is an open file description lock on it (fcntl(2), F_OFD_SETLK): given back by the
kernel however the holder ends, held apart between threads, and without a lock file for each thing to be left behind.
Refuses to wait without a bound.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

# struct flock of x86-64 Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"
_HELD = {errno.EAGAIN, errno.EACCES}
_LAST_BYTE = 2**62 - 1


@contextmanager
def named_lock(
    path: Path,
    name: str,
    *,
    shared: bool = False,
    timeout_s: float,
    waiting_for: str,
    holder: Callable[[], str] | None = None,
) -> Generator[None]:
    """Hold the lock `name` of the lock file `path`, which is made if need be. With a timeout of 0 it is tried once.

    Two names share a lock by chance once in 2^62 pairs; then one waits for the other, nothing worse.

    Raises:
        PyroError: BUSY, with what `holder` says about who has it; PERMISSION and others.
    """
    fd = _open(path)
    try:
        request = struct.pack(_FLOCK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, _byte_of(name), 1, 0)
        _take(fd, request, path, timeout_s, waiting_for, holder)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            ensure_private_dir(path.parent)
            return os.open(path, flags, 0o600)
    except OSError as error:
        raise from_os_error(error, f"open the lock file {path}") from error


def _byte_of(name: str) -> int:
    # FNV-1a: names are ours, not an attacker's, and hashlib costs five milliseconds to import.
    byte = 0xCBF29CE484222325
    for octet in name.encode():
        byte = ((byte ^ octet) * 0x100000001B3) & _LAST_BYTE
    return byte


def _take(
    fd: int, request: bytes, path: Path, timeout_s: float, waiting_for: str, holder: Callable[[], str] | None
) -> None:
    def attempt() -> bool:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise from_os_error(error, f"lock {path}") from error
        return True

    if attempt():
        return
    try:
        if timeout_s > 0:
            wait_until(attempt, timeout_s=timeout_s, what=waiting_for, interval_s=0.02)
            return
    except PyroError as error:
        if error.code is not ErrorCode.TIMEOUT:
            raise
    by = (holder() if holder is not None else "") or "another process"
    waited = f" for more than {timeout_s:g} s" if timeout_s > 0 else ""
    raise PyroError(
        ErrorCode.BUSY,
        f"{waiting_for} is in use by {by}{waited}",
        hint="Wait until it has finished, or end it, and run the command again.",
    )
