"""The git checkout around a directory that becomes a seed: where in it the directory is.

Nothing is run: the configuration of a repository may name programs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def checkout_prefix(directory: Path) -> str:
    """Return the path of a directory in the checkout around it, with a slash; "" for its top, or if there is none.

    `git apply` takes the paths of a patch from there, wherever below it runs, and skips those elsewhere silently.
    """
    real = os.path.realpath(directory)
    device, top = os.stat(real).st_dev, real
    while not _is_top(top):
        above = os.path.dirname(top)
        # Git looks no further either.
        if above == top or os.stat(above).st_dev != device:
            return ""
        top = above
    return "" if top == real else os.path.relpath(real, top) + "/"


def _is_top(directory: str) -> bool:
    git = os.path.join(directory, ".git")
    return os.path.isfile(git) or os.path.lexists(os.path.join(git, "HEAD"))
