"""Examine the git checkout around a seed: the seed's path in it, and the .gitignore files above the seed.

Git is not run, since the configuration of a repository may name programs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.protocol.ignore_rules import RULES

# Larger files are ignored.
_MAX_RULES_BYTES = 64 * 1024
_MAX_RULES = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The checkout around a directory, if any.

    `prefix` is the directory's path below the checkout's top, with a slash: `git apply` interprets the paths of a patch
    relative to the top, wherever it is run, and silently skips paths outside the current directory. `rules` are the
    .gitignore files above the directory: the directory's path relative to each, with a slash, and the text.
    """

    prefix: str = ""
    rules: tuple[tuple[str, str], ...] = ()


def surroundings_of(directory: Path) -> Surroundings:
    """Return the surroundings of a directory.

    Raises:
        OSError: from reading them.
    """
    real = os.path.realpath(directory)
    device, top = os.stat(real).st_dev, real
    while not _is_top(top):
        above = os.path.dirname(top)
        # Git does not search further either.
        if above == top or os.stat(above).st_dev != device:
            return Surroundings()
        top = above
    if top == real:
        return Surroundings()
    prefix = os.path.relpath(real, top) + "/"
    rules: list[tuple[str, str]] = []
    for depth in range(prefix.count("/")):
        inner = "/".join(prefix.split("/")[depth:])
        text = _text(os.path.join(top, prefix[: len(prefix) - len(inner)], os.fsdecode(RULES)))
        rules += [(inner, text)] if text else []
    return Surroundings(prefix, tuple(rules[-_MAX_RULES:]))


def _is_top(directory: str) -> bool:
    git = os.path.join(directory, ".git")
    return os.path.isfile(git) or os.path.lexists(os.path.join(git, "HEAD"))


def _text(path: str) -> str:
    if os.path.islink(path) or not os.path.isfile(path) or os.stat(path).st_size > _MAX_RULES_BYTES:
        return ""
    return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
