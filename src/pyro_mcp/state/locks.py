"""Named locks between processes for short-lived objects, such as VMs, workspaces and templates.

All locks share one file, which never grows and is never removed. A name is hashed to a byte of the file, and the lock
is an open file description lock on that byte (fcntl(2), F_OFD_SETLK): the kernel releases it when the holder ends for
any reason, it also excludes other threads, and no lock file per object is left behind. Every wait is bounded.

Reads and commands do not take a VM's lock. A workspace has two:

    life    held while a verb starts, stops, resets or deletes the workspace, or takes a snapshot
    use     shared by all users of the guest; exclusive while the guest is ended because its time to live has expired,
            so that it never expires while in use. If both are needed, it is taken before `life`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pyro_mcp.errors import from_os_error, os_errors
from pyro_mcp.host.files import closing_fd
from pyro_mcp.host.locks import gets_lock, lock_is_held
from pyro_mcp.host.paths import Paths, ensure_private_dir
from pyro_mcp.state.filenames import VM_LOCKS

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
    """Hold the lock `name` in the lock file `path`, created if missing. With a timeout of 0 it is tried once.

    The probability that two names share a byte is 2^-62; one would then just wait for the other.

    Raises:
        PyroError: BUSY, with the description of the holder from `holder`; PERMISSION and others.
    """
    with closing_fd(_open(path)) as fd:
        request = struct.pack(_FLOCK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, _byte_of(name), 1, 0)
        _take(fd, request, path, timeout_s, waiting_for, holder)
        yield


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with os_errors(f"open the lock file {path}"):
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            ensure_private_dir(path.parent)
            return os.open(path, flags, 0o600)


def _byte_of(name: str) -> int:
    # FNV-1a: names are not chosen by an attacker, and importing hashlib takes five milliseconds.
    byte = 0xCBF29CE484222325 & _LAST_BYTE
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

    if not gets_lock(attempt, timeout_s, waiting_for):
        raise lock_is_held(waiting_for, holder() if holder is not None else "", timeout_s)


# Longer than any start or stop takes once its template exists.
LOCK_TIMEOUT_S = 45.0


def vm_lock(paths: Paths, vm_id: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> AbstractContextManager[None]:
    """Hold the lock for changing the state of a VM or workspace.

    Raises:
        PyroError: BUSY if another process holds it for longer than `timeout_s`.
    """
    return named_lock(paths.state / VM_LOCKS, vm_id, timeout_s=timeout_s, waiting_for=vm_id)


workspace_lock = vm_lock


def using_workspace(
    paths: Paths, workspace_id: str, *, alone: bool = False, timeout_s: float = LOCK_TIMEOUT_S
) -> AbstractContextManager[None]:
    """Keep the workspace's guest from expiring within the block; with `alone`, exclude all its users instead.

    Raises:
        PyroError: BUSY.
    """
    name = f"use {workspace_id}"
    return named_lock(paths.state / VM_LOCKS, name, shared=not alone, timeout_s=timeout_s, waiting_for=workspace_id)
