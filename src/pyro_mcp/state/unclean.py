"""The warning about a workspace whose guest ended without writing its disks."""

from __future__ import annotations

import time
from pathlib import Path

# Linux writes what is dirty for 30 s, looks for it each 5 s, and ext4 commits each 5 s.
WRITEBACK_S = 40.0


def unclean_end(what: str, workspace_disk: Path) -> str:
    """Return `what` happened, and since when changes may be missing: a while before the disk was last written to."""
    try:
        since_s = workspace_disk.stat().st_mtime - WRITEBACK_S
    except OSError:
        return f"{what}; changes that it had not written to its disk are missing"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since_s))
    return f"{what}; changes since {since} may be missing, unless they were synced or made by pyro's own calls"
