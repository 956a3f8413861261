"""Run the host's git on a repository whose configuration is not trusted.

No program named in the configuration is run (monitors, hooks, filters, transports, helpers), nothing is fetched, and
nothing is written to the repository.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process

GITLINK = "160000"
_TIMEOUT_S = 300.0
_MAX_OUTPUT_BYTES = 256 * 1024**2
_MAX_POINTER_BYTES = 8192
# An empty file's name, and an empty tree's: SHA-1, SHA-256.
_EMPTY = {
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813": (
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
    ),
}
_OVERRIDES = {
    "core.alternateRefsCommand": "",
    "core.askPass": "",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.sshCommand": "false",
    "core.untrackedCache": "false",
    "credential.helper": "",
    "fastimport.unpackLimit": "0",
    "gc.auto": "0",
    # Reuse existing deltas: searching for better ones takes longer than it saves.
    "pack.window": "0",
    # The user chose this tree, and nothing in its configuration is run.
    "safe.directory": "*",
}
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class UnusableError(Exception):
    """A repository can't be copied into a guest; the message says why."""


class IndexEntry(NamedTuple):
    """One file of an index, by its path below the seed."""

    path: bytes
    mode: str
    object_id: str
    stage: int
    is_skipped: bool


class Repository:
    """A repository and its work tree, of which `directory` is used: the top, or a directory below it."""

    def __init__(self, git_dir: Path, top: Path, directory: Path) -> None:
        """Examine the repository.

        Raises:
            UnusableError: if git can't read it.
        """
        self.git_dir, self.top, self.directory = git_dir, top, directory
        wanted = ("objects", "shallow", "info/exclude", "info/sparse-checkout")
        asked = [word for name in wanted for word in ("--git-path", name)]
        lines = os.fsdecode(self.run("rev-parse", "--path-format=absolute", *asked)).splitlines()
        if len(lines) != len(wanted):
            raise UnusableError("the names of its files can't be read")
        self.objects, self.shallow, self.exclude, self.sparse = map(Path, lines)
        self._entries: tuple[IndexEntry, ...] | None = None

    def run(
        self,
        *arguments: str,
        data: bytes = b"",
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> bytes:
        """Run git, by default in this repository, and return its output.

        Another `git_dir` has no work tree, unless one is given.

        Raises:
            UnusableError: with git's message, if it fails.
        """
        settings = [word for name, value in _OVERRIDES.items() for word in ("-c", f"{name}={value}")]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CONFIG_HOME") if name in os.environ}
        places = {
            "GIT_DIR": os.fspath(git_dir or self.git_dir),
            "GIT_WORK_TREE": os.fspath(work_tree or git_dir or self.top),
        }
        try:
            done = process.run(
                ["git", *settings, *arguments],
                timeout_s=timeout_s,
                input=data,
                env={**kept, **_ENVIRONMENT, **places},
                cwd=work_tree or git_dir or self.directory,
                check=False,
                max_output_bytes=_MAX_OUTPUT_BYTES,
            )
        except PyroError as error:
            if error.code is not ErrorCode.TIMEOUT:
                raise
            raise UnusableError(f"git {arguments[0]} took more than {timeout_s:.0f} s") from error
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip() or f"status {done.returncode}"
            raise UnusableError(f"git {arguments[0]}: {words.splitlines()[-1]}")
        if done.dropped_bytes:
            raise UnusableError(f"git {arguments[0]} printed more than {_MAX_OUTPUT_BYTES // 1024**2} MiB")
        return done.stdout

    def text(self, *arguments: str) -> str:
        """Return a line of output from git, or "" if it fails."""
        try:
            return os.fsdecode(self.run(*arguments)).rstrip("\n")
        except UnusableError:
            return ""

    @property
    def entries(self) -> tuple[IndexEntry, ...]:
        """Return the entries of the index below `directory`.

        Raises:
            UnusableError: if git can't read it.
        """
        if self._entries is None:
            listed = self.run("ls-files", "-s", "-t", "-z").split(b"\0")[:-1]
            self._entries = tuple(_entry(line) for line in listed)
        return self._entries

    def intended(self) -> list[bytes]:
        """Return the files that were added with `git add --intent-to-add`: tracked, without content in the index."""
        names = {each.object_id for each in self.entries} & _EMPTY.keys()
        if not names:
            return []
        head = self.text("rev-parse", "-q", "--verify", "HEAD^{commit}") or _EMPTY[names.pop()]
        try:
            seen, unseen = (
                self.run("diff-index", "--cached", f"--ita-{each}-in-index", "--relative", "--name-status", "-z", head)
                for each in ("visible", "invisible")
            )
        except UnusableError:
            # Trees that a partial clone lacks: the files then count as added.
            return []
        return sorted({path for _, path in _changes(seen) ^ _changes(unseen)})

    def ignored(self) -> list[bytes]:
        """Return the files and whole directories that git ignores, relative to `directory`.

        Raises:
            UnusableError: if git can't list them.
        """
        listed = self.run("ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z")
        return [name.rstrip(b"/") for name in listed.split(b"\0")[:-1]]


def open_repository(top: Path, directory: Path) -> Repository:
    """Return the repository of the work tree `top`, of which `directory` is used.

    Raises:
        UnusableError: if its `.git` refers to no repository, or to one that does not refer back to this work tree.
    """
    return Repository(_git_dir_of(top), top, directory)


def _git_dir_of(top: Path) -> Path:
    """Return the git directory of a work tree.

    A git directory outside it must refer back to the work tree, as git ensures for worktrees and submodules: a `.git`
    file exported from a guest could otherwise refer to any other repository on this host.
    """
    place = top / ".git"
    try:
        if stat.S_ISDIR(os.lstat(place).st_mode):
            return place
        if place.is_symlink():
            found = Path(os.path.realpath(place))
        else:
            with open(place, "rb") as file:
                pointer = file.read(_MAX_POINTER_BYTES)
            if not pointer.startswith(b"gitdir:"):
                raise UnusableError(f"{place} does not name a git directory")
            named = os.fsdecode(pointer.removeprefix(b"gitdir:").strip())
            found = Path(os.path.realpath(top / named))
    except OSError as error:
        raise UnusableError(f"{place} can't be read: {error.strerror}") from error
    if not found.is_dir():
        raise UnusableError(f"its git directory {found} does not exist")
    real_top = Path(os.path.realpath(top))
    if found.is_relative_to(real_top) or _work_tree_of(found) == real_top:
        return found
    raise UnusableError(f"its git directory {found} does not name {top} as its work tree")


def _work_tree_of(git_dir: Path) -> Path | None:
    try:
        if (back := git_dir / "gitdir").exists():
            return Path(os.path.realpath(git_dir / os.fsdecode(back.read_bytes().strip()))).parent
        named = Repository(git_dir, git_dir, git_dir).text("config", "--no-includes", "core.worktree")
    except (OSError, UnusableError):
        return None
    return Path(os.path.realpath(git_dir / named)) if named else None


def _changes(listed: bytes) -> set[tuple[bytes, bytes]]:
    fields = listed.split(b"\0")
    return set(zip(fields[::2], fields[1::2], strict=False))


def _entry(line: bytes) -> IndexEntry:
    told, path = line.split(b"\t", 1)
    tag, mode, object_id, stage = told.decode("ascii").split(" ")
    return IndexEntry(path, mode, object_id, int(stage), tag.upper() == "S")
