"""Open the path that the user named as a source: a directory or an archive. Anything else is an error."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.trees.directory import DirectorySource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyro_mcp.trees.entries import TreeSource

_SUFFIXES = (".tar", ".tar.gz", ".tgz")


def open_source(path: Path, *, avoid: Iterable[Path] = ()) -> TreeSource:
    """Return the source that a path is. The path itself may be a symbolic link: the user named it.

    Raises:
        PyroError: NOT_FOUND; INVALID for anything that is no directory and no archive; PERMISSION.
    """
    path = Path(os.path.abspath(path))
    with os_errors(f"read {path}", hint="Give a directory, or a .tar, .tar.gz or .tgz file."):
        found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        return DirectorySource(path, avoid=avoid)
    if stat.S_ISREG(found.st_mode) and path.name.lower().endswith(_SUFFIXES):
        # Most trees are directories, and start sooner without this.
        from pyro_mcp.trees.archive import ArchiveSource

        return ArchiveSource(path)
    raise PyroError(
        ErrorCode.INVALID,
        f"{path} is neither a directory nor an archive",
        hint="Give a directory, or a .tar, .tar.gz or .tgz file.",
        details={"path": str(path)},
    )
