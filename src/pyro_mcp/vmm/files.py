"""The file behind a guest's memory."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.errors import os_errors
from pyro_mcp.host.durable import sparse_copy
from pyro_mcp.host.files import NEW_FILE, closing_fd


def create_memory(size_bytes: int) -> int:
    """Make a file in memory for a guest's memory, and return its descriptor. The caller closes it.

    Anybody may write to it by its mode, because QEMU reopens it as the user it runs as; nobody else has it to open.

    Raises:
        PyroError: NO_SPACE and others.
    """
    with os_errors("make the guest's memory"):
        fd = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        try:
            os.fchmod(fd, 0o666)
            os.ftruncate(fd, size_bytes)
        except BaseException:
            os.close(fd)
            raise
    return fd


def save_memory(fd: int, path: Path) -> None:
    """Write what is in the memory `fd` to the new file `path`, synced; untouched pages become holes.

    QEMU may reopen the file as the user it runs as, to read: its directory keeps everybody else out.

    Raises:
        PyroError: CONFLICT if it exists; NO_SPACE, PERMISSION and others.
    """
    with os_errors(f"write the memory file {path}"), closing_fd(os.open(path, NEW_FILE, 0o600)) as target:
        os.fchmod(target, 0o666)
        sparse_copy(fd, target)
        os.fsync(target)
