"""Warn about a workspace whose guest ended without flushing its disks, and note on disk whether it flushed them."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path

from pyro_mcp.host.durable import atomic_write

# Linux writes pages that have been dirty for 30 s, checks every 5 s, and ext4 commits every 5 s.
WRITEBACK_S = 40.0


class Flush(StrEnum):
    """The result of flushing a guest's disks when its keeper was told to end, for example at host shutdown."""

    NONE = ""
    BEGUN = "begun"
    DONE = "done"


def note_flush(path: Path, flush: Flush) -> None:
    """Write the note durably, since the host may be shutting down.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    atomic_write(path, flush.value.encode())


def flush_of(path: Path) -> Flush:
    """Return the result from the note, or NONE if there is no note."""
    try:
        return Flush(path.read_text("ascii"))
    except (OSError, ValueError):
        return Flush.NONE


def unclean_end(what: str, workspace_disk: Path) -> str:
    """Return `what` happened, and since when changes may be missing: WRITEBACK_S before the disk's last write."""
    try:
        since_s = workspace_disk.stat().st_mtime - WRITEBACK_S
    except OSError:
        return f"{what}; changes that it had not written to its disk are missing"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since_s))
    return f"{what}; changes since {since} may be missing, unless they were synced or made by pyro's own calls"
