"""Freeze the workspace while its disk is copied: the task FREEZE.

It is thawed at the end of stdin, or after a fixed time. If this process ends in any other way, the agent thaws it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.disks import FIFREEZE, FITHAW, ROOT_DISK_PLACE
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, Area
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.streams import STDIN, STDOUT, write_all
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document


def freeze(area: Area, *, with_root: bool) -> Document:
    """Flush the file systems and freeze them until the host is done. On a host, only wait."""
    held = [os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)]
    if not area.roots.is_machine:
        _wait()
        return {}
    if with_root:
        held.append(os.open(ROOT_DISK_PLACE, OPEN_DIRECTORY))
    # Flush most of the data before anything is frozen.
    for fd in held:
        syscalls.syncfs(fd)
    is_in_time = True
    frozen: list[int] = []
    try:
        for fd in held:
            _freeze(fd)
            frozen.append(fd)
        is_in_time = _wait()
    finally:
        for fd in frozen:
            try:
                fcntl.ioctl(fd, FITHAW, 0)
            except OSError:
                # The workload has already thawed it.
                is_in_time = False
    if not is_in_time:
        raise TaskError(tasks.TOO_LONG_FROZEN, message="the workspace was thawed before the host was done")
    return {}


def _freeze(fd: int) -> None:
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise TaskError(tasks.BUSY, b"") from None
        raise failure(error, None) from None


def _wait() -> bool:
    """Report that everything is frozen, and wait for the host; return whether it was done in time."""
    write_all(STDOUT, tasks.FROZEN)
    readable, _, _ = select.select([STDIN], [], [], tasks.MAX_FREEZE_S)
    return bool(readable)
