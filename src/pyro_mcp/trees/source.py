"""Open a path as the source of a tree: a directory or an archive. Anything else is an error."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.trees.directory import DirectorySource
from pyro_mcp.trees.entries import SeedRules, TreeSource

_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_RULES = ".pyroignore"


def open_seed(
    seed: Path | TreeSource | None, scratch: Path, *, avoid: Iterable[Path] = (), rules: SeedRules | None = None
) -> TreeSource | None:
    """Return the source of a seed, which may use the directory `scratch` for temporary files.

    Only with `rules` is a git checkout, or a directory inside one, treated as such.

    Raises:
        PyroError: as `open_source`; INVALID for exclusions without a directory.
    """
    if seed is None:
        return None
    if not isinstance(seed, Path):
        seed.use(scratch)
        return seed
    path = Path(os.path.abspath(seed))
    if rules is not None and path.is_dir():
        return _open_directory(path, rules, scratch, avoid)
    if rules is not None and rules.exclude:
        raise PyroError(
            ErrorCode.INVALID, f"{path} is not a directory: nothing in it can be excluded", hint="Unpack it first."
        )
    return open_source(path, avoid=avoid)


def open_source(path: Path, *, avoid: Iterable[Path] = ()) -> TreeSource:
    """Return the source for a path, which may itself be a symbolic link, since the user named it.

    Raises:
        PyroError: NOT_FOUND; INVALID for anything but a directory or an archive; PERMISSION.
    """
    path = Path(os.path.abspath(path))
    with os_errors(f"read {path}", hint="Give a directory, or a .tar, .tar.gz or .tgz file."):
        found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        return DirectorySource(path, avoid=avoid)
    if stat.S_ISREG(found.st_mode) and path.name.lower().endswith(_SUFFIXES):
        # Imported only for archives: most trees are directories.
        from pyro_mcp.trees.archive import ArchiveSource

        return ArchiveSource(path)
    raise PyroError(
        ErrorCode.INVALID,
        f"{path} is neither a directory nor an archive",
        hint="Give a directory, or a .tar, .tar.gz or .tgz file.",
        details={"path": str(path)},
    )


def _open_directory(path: Path, rules: SeedRules, scratch: Path, avoid: Iterable[Path]) -> DirectorySource:
    real = Path(os.path.realpath(path))
    source = None
    if (top := checkout_around(real)) is not None:
        from pyro_mcp.trees.checkouts.source import open_checkout

        source = open_checkout(top, real, rules, scratch, avoid=avoid)
        source.name = str(path)
    source = source or DirectorySource(path, avoid=avoid)
    if rules.exclude or os.path.lexists(path / _RULES):
        from pyro_mcp.trees.exclusion import exclusion_of

        source.exclusion = exclusion_of(real, rules.exclude)
    return source


def checkout_around(directory: Path) -> Path | None:
    """Return the git checkout that contains a directory. `/`, the home directory and its parents never count as one."""
    home = Path(os.path.realpath(Path.home()))
    for each in (directory, *directory.parents):
        if (each / ".git").exists() or (each / ".git").is_symlink():
            return None if each == Path("/") or home.is_relative_to(each) else each
    return None
