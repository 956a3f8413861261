"""The quarantine for files that are unusable but not known to be garbage. Only the user removes them.

Reconciling moves everything there that it can neither use nor recognize as unfinished or deleted. `doctor` lists it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from pyro_mcp.errors import from_os_error
from pyro_mcp.host.durable import fsync_dir
from pyro_mcp.host.paths import Paths, ensure_private_dir

# The prefix with which earlier versions, without this directory, marked an unusable workspace.
_EARLIER = "unusable-"


def quarantine(paths: Paths, path: Path, label: str) -> Path | None:
    """Move a file or directory into quarantine, and return its new path, or None if it does not exist.

    Raises:
        PyroError: PERMISSION and others.
    """
    ensure_private_dir(paths.quarantine)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = paths.quarantine / f"{stamp}-{label}-{os.urandom(3).hex()}"
    try:
        os.rename(path, aside)
        fsync_dir(paths.quarantine)
        fsync_dir(path.parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, f"move {path} to {paths.quarantine}") from error
    with suppress(OSError):
        if aside.is_dir():
            os.chmod(aside, 0o700)
    return aside


def quarantined(paths: Paths) -> list[Path]:
    """Return the contents of the quarantine, oldest first."""
    found: list[Path] = []
    with suppress(OSError):
        found += paths.quarantine.iterdir()
    with suppress(OSError):
        found += (path for path in paths.workspaces.iterdir() if path.name.startswith(_EARLIER))
    return sorted(found, key=lambda path: path.name.removeprefix(_EARLIER))
