"""A fresh clone of a repository as the source of a tree, created for one seed and removed afterwards.

The user chose the repository, so the user's own git settings and credentials apply. Password prompts are disabled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.protocol.names import shown_briefly
from pyro_mcp.trees.checkouts.git import GITLINK
from pyro_mcp.trees.checkouts.source import open_checkout
from pyro_mcp.trees.entries import WAYS_OUT, Data, Entry, Notes, SeedRules, TreeMode
from pyro_mcp.trees.exclusion import exclusion_of
from pyro_mcp.trees.hooks.git_config import without_user

_TIMEOUT_S = 900.0
_MAX_REMARKS = 10
_USER = re.compile(r"://[^/@\s']*@")
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
            remarks = self._fetch_submodules(place)
            source = open_checkout(place, place, SeedRules(tracked_only=True), place.parent)
            source.exclusion = exclusion_of(place, self._exclude)
            self.notes = source.notes
            for remark in remarks:
                self.notes.remark(remark)
            yield from source.items()
        finally:
            remove_tree(place)

    def _fetch_submodules(self, place: Path) -> list[str]:
        """Fetch the submodules; return what could not be fetched.

        git takes none from this host's own files, unless the user's settings allow it: the repository names them.
        """
        listed = self._run("-C", os.fspath(place), "ls-files", "--stage", "-z").stdout.split(b"\0")
        remarks: list[str] = []
        for path in (line.partition(b"\t")[2] for line in listed if line.startswith(GITLINK.encode())):
            update = ("submodule", "update", "--quiet", "--init", "--recursive", "--", os.fsdecode(path))
            done = self._run("-C", os.fspath(place), *update)
            if done.returncode != 0:
                words = "; ".join(self._words_of(done).splitlines())
                remarks.append(f"The submodule {shown_briefly(path)} is missing or incomplete: {words}")
        if len(remarks) > _MAX_REMARKS:
            remarks[_MAX_REMARKS:] = [f"Other submodules are missing or incomplete: {len(remarks) - _MAX_REMARKS}."]
        return remarks

    def _git(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            what = f"could not clone {self.name}" if "clone" in arguments else f"{self.name} has no {self._ref}"
            raise PyroError(ErrorCode.UNAVAILABLE, f"{what}: {self._words_of(done)}", hint=WAYS_OUT)

    def _run(self, *arguments: str) -> process.Completed:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
        return process.run(["git", *_OVERRIDES, *arguments], timeout_s=_TIMEOUT_S, env=environment, check=False)

    def _words_of(self, done: process.Completed) -> str:
        said = done.stderr.decode("utf-8", "replace").replace(self._url, self.name)
        # A submodule whose URL is relative has the user and the password of the repository's.
        return _USER.sub("://", said).strip()[-1000:]
