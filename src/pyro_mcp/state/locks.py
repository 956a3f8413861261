"""Locks between processes for things that come and go, such as VMs, workspaces and templates.

Locks go by name, any number of them in one file that never grows and is never removed. A name is a byte of the file,
chosen by hashing it, and the lock is an open file description lock on it (fcntl(2), F_OFD_SETLK): the kernel releases
it however the holder ends, threads exclude each other too, and no lock file per thing is left behind. Every wait is
bounded.

Reads and commands do not take a VM's lock. A workspace has two:

    life    held by the one verb that starts, stops, resets, deletes or takes a snapshot
    use     shared by all who use the guest; held alone by the verb that ends it when its time is up, so that no time to
            live runs out in the middle of something. Taken before `life` where both are needed.
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
    """Hold the lock `name` of the lock file `path`, made if missing. With a timeout of 0 it is tried once.

    Two names share a lock by chance once in 2^62 pairs; then one waits for the other, nothing worse.

    Raises:
        PyroError: BUSY, with what `holder` says about who has it; PERMISSION and others.
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
    # FNV-1a: names are ours, not an attacker's, and hashlib costs five milliseconds to import.
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


# Longer than any start or stop takes once its template is there.
LOCK_TIMEOUT_S = 45.0


def vm_lock(paths: Paths, vm_id: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> AbstractContextManager[None]:
    """Hold the right to change the state of a VM, or of a workspace.

    Raises:
        PyroError: BUSY if another process keeps it for longer than `timeout_s`.
    """
    return named_lock(paths.state / VM_LOCKS, vm_id, timeout_s=timeout_s, waiting_for=vm_id)


workspace_lock = vm_lock


def using_workspace(
    paths: Paths, workspace_id: str, *, alone: bool = False, timeout_s: float = LOCK_TIMEOUT_S
) -> AbstractContextManager[None]:
    """Keep the workspace's guest from being ended because its time is up; `alone`: while it is being ended for that.

    Raises:
        PyroError: BUSY.
    """
    name = f"use {workspace_id}"
    return named_lock(paths.state / VM_LOCKS, name, shared=not alone, timeout_s=timeout_s, waiting_for=workspace_id)
