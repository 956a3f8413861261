"""Exclude files from a seed by .gitignore patterns, from its `.pyroignore` file and the caller."""

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
        """Return whether an entry matches the patterns."""
        return self._rules.verdict(path, is_directory=is_directory) is True

    def covers(self, path: bytes) -> bool:
        """Return whether a file, or a directory above it, is excluded."""
        above = path
        while b"/" in above:
            above = above.rpartition(b"/")[0]
            if self.names(above, is_directory=True):
                return True
        return self.names(path, is_directory=False)


def exclusion_of(directory: Path, patterns: Sequence[str]) -> Exclusion | None:
    """Return the exclusion for a directory's `.pyroignore` followed by `patterns`, or None if there are no patterns.

    Raises:
        PyroError: INVALID if `.pyroignore` is not a regular file, or too large.
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
        hint="It must be a text file with patterns as in a .gitignore file.",
    )
