"""Remove directories with large disks without waiting for their blocks to be freed.

The names are removed immediately; the last descriptors of the files are passed to a process that only exits, so that it
waits instead of the caller. On a file system mounted with discard, freeing takes longer than a restore. Nothing can be
left behind: a file without a name and without a descriptor no longer exists.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.files import open_plain

# Below this, freeing takes no longer than starting a process.
_LARGE_BLOCKS = 4 * 1024 * 1024 // 512
_MAX_FILES = 32
_SUFFIX = ".img"


def remove_disks(path: Path) -> None:
    """Remove a disk, or a directory with disks in it, if it exists.

    Raises:
        PyroError: PERMISSION and others, naming the path that could not be removed.
    """
    with ExitStack() as last, ExitStack() as held:
        fds: list[int] = []
        for disk in _disks(path):
            with suppress(OSError):
                fd = open_plain(disk)
                held.callback(os.close, fd)
                if os.fstat(fd).st_blocks > _LARGE_BLOCKS:
                    fds.append(fd)
        remove_tree(path)
        if fds:
            # If it can't be started, this process waits itself.
            with suppress(PyroError):
                argv = ["/bin/sh", "-c", "read -r line"]
                child = process.start(argv, env={}, stdin=process.PIPE, pass_fds=fds, detached=True)
                # It exits at the end of its input, which comes after this process has closed the files.
                last.callback(child.close)


def _disks(path: Path) -> list[str]:
    if path.name.endswith(_SUFFIX):
        return [os.fspath(path)]
    found: list[str] = []
    for place, _, names in os.walk(path):
        found += [os.path.join(place, name) for name in names if name.endswith(_SUFFIX)]
        if len(found) >= _MAX_FILES:
            break
    return found[:_MAX_FILES]
