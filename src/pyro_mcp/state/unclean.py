"""The warning about a workspace whose guest ended without writing its disks, and the note that says whether it did."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path

from pyro_mcp.host.durable import atomic_write

# Linux writes what is dirty for 30 s, looks for it each 5 s, and ext4 commits each 5 s.
WRITEBACK_S = 40.0


class Flush(StrEnum):
    """Say what came of a guest's flush when its keeper was told to end, as when the host shuts down."""

    NONE = ""
    BEGUN = "begun"
    DONE = "done"


def note_flush(path: Path, flush: Flush) -> None:
    """Note it durably: the host may be about to end.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    atomic_write(path, flush.value.encode())


def flush_of(path: Path) -> Flush:
    """Return what the note says, NONE if there is none."""
    try:
        return Flush(path.read_text("ascii"))
    except (OSError, ValueError):
        return Flush.NONE


def unclean_end(what: str, workspace_disk: Path) -> str:
    """Return `what` happened, and since when changes may be missing: a while before the disk was last written to."""
    try:
        since_s = workspace_disk.stat().st_mtime - WRITEBACK_S
    except OSError:
        return f"{what}; changes that it had not written to its disk are missing"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since_s))
    return f"{what}; changes since {since} may be missing, unless they were synced or made by pyro's own calls"
