"""What a seed leaves out because its `.pyroignore` or the caller says so: patterns of a .gitignore at its top."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import open_plain
from pyro_mcp.protocol.ignore_rules import RuleFile

_RULES = ".pyroignore"
_MAX_BYTES = 1024 * 1024


class Exclusion:
    """The patterns of one seed."""

    def __init__(self, data: bytes) -> None:
        self._rules = RuleFile(data)

    def names(self, path: bytes, *, is_directory: bool) -> bool:
        """Say whether the patterns name an entry."""
        return self._rules.verdict(path, is_directory=is_directory) is True

    def covers(self, path: bytes) -> bool:
        """Say whether a file is left out, by itself or with a directory above it."""
        above = path
        while b"/" in above:
            above = above.rpartition(b"/")[0]
            if self.names(above, is_directory=True):
                return True
        return self.names(path, is_directory=False)


def exclusion_of(directory: Path, patterns: Sequence[str]) -> Exclusion | None:
    """Return what a directory's `.pyroignore` and `patterns`, which come after it, leave out; None if nothing is named.

    Raises:
        PyroError: INVALID for a `.pyroignore` that is no ordinary file, or too large.
    """
    lines = [os.fsencode(each) for each in patterns]
    try:
        with open(open_plain(directory / _RULES), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise _unusable(directory, error.strerror or "it can't be read") from error
    if len(data) > _MAX_BYTES:
        raise _unusable(directory, "it is larger than 1 MiB")
    return Exclusion(b"\n".join([data, *lines])) if data or lines else None


def _unusable(directory: Path, why: str) -> PyroError:
    return PyroError(
        ErrorCode.INVALID,
        f"{directory / _RULES} can't be used: {why}",
        hint="It must be a text file, with patterns as in a .gitignore.",
    )
