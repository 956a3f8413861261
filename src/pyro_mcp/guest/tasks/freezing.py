"""Hold the workspace still while its disk is copied: the task FREEZE.

It is released at the end of stdin or after a fixed time; if this process ends otherwise, the agent releases it.
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
    """Write what is in memory to the disks, and hold the file systems until the host is done. On a host, only wait."""
    held = [os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)]
    if not area.grounds.is_machine:
        _wait()
        return {}
    if with_root:
        held.append(os.open(ROOT_DISK_PLACE, OPEN_DIRECTORY))
    # Most of the work is done while all still goes on.
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
                # The workload has thawed it before.
                is_in_time = False
    if not is_in_time:
        raise TaskError(tasks.TOO_LONG_FROZEN, message="it was thawed before the host was done")
    return {}


def _freeze(fd: int) -> None:
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise TaskError(tasks.BUSY, b"") from None
        raise failure(error, None) from None


def _wait() -> bool:
    """Say that all stands still, and wait for the host; say whether it was done in time."""
    write_all(STDOUT, tasks.FROZEN)
    readable, _, _ = select.select([STDIN], [], [], tasks.MAX_FREEZE_S)
    return bool(readable)
