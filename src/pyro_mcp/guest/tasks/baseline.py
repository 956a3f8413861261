"""Open the baseline: in a guest a disk, mounted for one process; on a host a directory."""

from __future__ import annotations

import os

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.disks import BASELINE_DEVICE
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, TaskRoots
from pyro_mcp.guest.tasks.failures import TaskError
from pyro_mcp.protocol import tasks


def open_baseline(roots: TaskRoots) -> int:
    """Return a descriptor of the baseline's root.

    Raises:
        TaskError: SYSTEM.
    """
    return _disk() if roots.is_machine else _directory(roots.baseline)


def _disk() -> int:
    """Mount the baseline for this process only, until it exits."""
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID
    try:
        root = syscalls.open_file_system("ext4", BASELINE_DEVICE, {"ro": "", "noload": ""}, attributes)
        return os.open(b".", OPEN_DIRECTORY, dir_fd=root)
    except OSError as error:
        raise TaskError(tasks.SYSTEM, message=f"the baseline can't be mounted: {error}") from None


def _directory(path: bytes | None) -> int:
    try:
        return os.open(path or b"", OPEN_DIRECTORY)
    except OSError as error:
        raise TaskError(tasks.SYSTEM, message=f"the baseline can't be opened: {error.strerror}") from None
