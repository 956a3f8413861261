"""A fresh clone of a repository as the source of a tree, created for one seed and removed afterwards.

The user chose the repository, so the user's own git settings and credentials apply. Password prompts are disabled.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.trees.checkouts.source import open_checkout
from pyro_mcp.trees.entries import WAYS_OUT, Data, Entry, Notes, SeedRules, TreeMode
from pyro_mcp.trees.exclusion import exclusion_of
from pyro_mcp.trees.hooks.git_config import without_user

_TIMEOUT_S = 900.0
_OVERRIDES = ("-c", f"core.hooksPath={os.devnull}", "-c", "init.templateDir=", "-c", "protocol.ext.allow=never")


class CloneSource:
    """A repository by its URL, at a branch, tag or commit (default: its HEAD)."""

    mode = TreeMode.DIRECTORY

    def __init__(self, url: str, ref: str | None = None, exclude: tuple[str, ...] = ()) -> None:
        self.name = without_user(url)
        self._exclude = exclude
        self.notes = Notes()
        self._url, self._ref = url, ref
        self._scratch: Path | None = None

    def use(self, scratch: Path) -> None:
        """Set the directory for the clone."""
        self._scratch = scratch / "clone"

    def check(self) -> None:
        """Do nothing: the repository is cloned when the tree is read."""

    def items(self) -> Generator[Entry | Data]:
        """Clone the repository and yield its tree.

        Raises:
            PyroError: UNAVAILABLE, with git's message, if it can't be cloned or has no such ref.
        """
        place = self._scratch
        if place is None:
            raise PyroError(ErrorCode.INTERNAL, "a clone needs a directory")
        try:
            self._git("clone", "--quiet", "--no-checkout", "--", self._url, os.fspath(place))
            self._git("-C", os.fspath(place), "checkout", "--quiet", *([self._ref] if self._ref else []), "--")
            source = open_checkout(place, place, SeedRules(tracked_only=True), place.parent)
            source.exclusion = exclusion_of(place, self._exclude)
            self.notes = source.notes
            yield from source.items()
        finally:
            remove_tree(place)

    def _git(self, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
        done = process.run(["git", *_OVERRIDES, *arguments], timeout_s=_TIMEOUT_S, env=environment, check=False)
        if done.returncode == 0:
            return
        told = done.stderr.decode("utf-8", "replace").replace(self._url, self.name).strip()[-1000:]
        what = f"could not clone {self.name}" if "clone" in arguments else f"{self.name} has no {self._ref}"
        raise PyroError(ErrorCode.UNAVAILABLE, f"{what}: {told}", hint=WAYS_OUT)
