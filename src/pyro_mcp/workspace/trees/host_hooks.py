"""Files that a tool of the host runs, or obeys by running something, without being asked.

Owns the table of such files, and finding them in a tree. Refuses to judge what they would do, but for git's
configuration: it is in every checkout, and nearly always harmless. What a person starts by name (a Makefile, a test, a
script) is not among them.

Names are compared without regard to case, as some file systems do. A symbolic link in the place of a directory counts
as what may be behind it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.workspace.trees.entries import NO_CONTENT, Data, Entry, Kind
from pyro_mcp.workspace.trees.git_config import MAX_BYTES, may_run_programs
from pyro_mcp.workspace.trees.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 1024 * 1024
# Larger ones are no settings; they are left out of what may come back.
_MAX_CENSUS_BYTES = 64 * 1024 * 1024


class HostHook(NamedTuple):
    """A file of the table as it is in some tree: its name there, as `names.shown` has it, and what it is."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Who would run the files whose names, in lower case, the pattern matches."""

    tool: str
    pattern: re.Pattern[bytes]
    # What a file has to hold, where its name alone does not tell.
    judges: Callable[[bytes], bool] | None = None


def _rule(tool: str, *patterns: bytes, judges: Callable[[bytes], bool] | None = None) -> Rule:
    return Rule(tool, re.compile(rb"(?:.*/)?(?:" + b"|".join(patterns) + rb")", re.DOTALL), judges)


_BELOW = rb"(?:/.*)?"
_HOOKS = rb"hooks/(?:.*/)?(?![^/]*\.sample$)[^/]*"
_CONFIG = rb"config(?:\.worktree)?"

RULES = (
    # A file by that name says where the repository is; git reads its configuration there.
    _rule("git", rb"\.git", rb"\.git/(?:.*/)?(?:" + _HOOKS + rb"|hooks|commondir)"),
    _rule("git", rb"\.git/(?:.*/)?" + _CONFIG, judges=may_run_programs),
    # What an interrupted rebase goes on with may be commands.
    _rule("git", rb"\.git/(?:.*/)?rebase-merge/git-rebase-todo(?:\.backup)?"),
    _rule("Mercurial", rb"\.hg/(?:hgrc|hgrc-not-shared|sharedpath)", rb"\.sl/config"),
    _rule("Jujutsu", rb"\.jj/(?:.*/)?config[^/]*\.toml", rb"\.jj/repo"),
    _rule("direnv", rb"\.envrc"),
    _rule("mise", rb"\.?(?:mise|rtx)(?:\.[^/]+)?\.toml", rb"\.?mise/config[^/]*\.toml", rb"\.config/mise" + _BELOW),
    _rule("autoenv", rb"\.autoenv[^/]*"),
    _rule("husky", rb"\.husky" + _BELOW),
    _rule("Visual Studio Code", rb"\.vscode(?:/(?:tasks|settings|launch|mcp)\.json)?", rb"[^/]+\.code-workspace"),
    _rule("development containers", rb"\.devcontainer(?:/(?:.*/)?devcontainer\.json)?", rb"\.devcontainer\.json"),
    _rule("JetBrains", rb"\.idea" + _BELOW, rb"\.fleet" + _BELOW),
    _rule("Zed", rb"\.zed" + _BELOW),
    _rule("Helix", rb"\.helix" + _BELOW),
    _rule("Vim", rb"\.(?:exrc|vimrc|nvimrc|nvim\.lua|lvimrc|gvimrc)", rb"_(?:exrc|vimrc|gvimrc)"),
    _rule("Emacs", rb"\.dir-locals(?:-2)?\.el"),
    _rule("a debugger", rb"\.(?:gdbinit|lldbinit)"),
    _rule("Claude Code", rb"\.claude" + _BELOW, rb"\.mcp\.json"),
    _rule("Codex", rb"\.codex" + _BELOW),
    _rule("Cursor", rb"\.cursor" + _BELOW),
    _rule("OpenCode", rb"\.opencode" + _BELOW, rb"opencode\.jsonc?"),
    _rule("Gemini CLI", rb"\.gemini" + _BELOW),
    _rule("Windsurf", rb"\.windsurf" + _BELOW),
    _rule("another agent", rb"\.(?:continue|roo|kilocode|kiro|amazonq|qwen|junie|factory|crush|goose)" + _BELOW),
    _rule("another agent", rb"\.aider\.conf\.ya?ml", rb"\.?crush\.json"),
)
# Said of symbolic links: behind each of these names a tool looks for files of the table.
_LINKED = _rule(
    "what is behind the link",
    rb"\.(?:git|devcontainer)" + _BELOW,
    rb"\.(?:hg|sl|vscode|config)",
    rb"\.jj(?:/repo)?",
    rb"\.?mise",
)
# Of a directory that git takes for a repository, whatever its name is.
_IN_REPOSITORY = (
    Rule("git", re.compile(_HOOKS + rb"|hooks|commondir", re.DOTALL)),
    Rule("git", re.compile(_CONFIG), judges=may_run_programs),
)
# What the names of such files have.
_IN_SOME_REPOSITORY = re.compile(rb"(?:^|/)(?:hooks(?:/|$)|config(?:\.worktree)?$|commondir$)", re.IGNORECASE)
# What every name in the table has: a cheap way to say no to nearly all others. Below .git/objects are thousands.
_SIGNS = re.compile(
    rb"(?:^|/)(?:\.(?:git(?:$|/(?!objects/|refs/|logs/))|hg|sl|jj|envrc|mise|rtx|config|autoenv|husky|vscode|devcontainer"
    rb"|idea|fleet|zed|helix|exrc|n?vim|lvimrc|gvimrc|dir-locals|gdbinit|lldbinit|claude|mcp|codex|cursor|opencode|gemini"
    rb"|windsurf|continue|roo|kilocode|kiro|amazonq|qwen|junie|factory|crush|goose|aider)"
    rb"|_(?:exrc|vimrc|gvimrc)|mise|rtx|crush|opencode)|\.code-workspace$",
    re.IGNORECASE,
)


def rule_for(path: bytes, kind: Kind) -> Rule | None:
    """Return the rule that an entry falls under, or None. For a rule that `judges`, the content has the last word."""
    if kind is Kind.DIRECTORY:
        return None
    if kind is Kind.SYMLINK and b".git/" in path.lower() and _LINKED.pattern.fullmatch(path.lower()):
        return _LINKED
    if not _SIGNS.search(path):
        return None
    lowered = path.lower()
    for rule in (_LINKED, *RULES) if kind is Kind.SYMLINK else RULES:
        if rule.pattern.fullmatch(lowered):
            return rule
    return None


def may_lead_to_hooks(directory: bytes) -> bool:
    """Say whether a name below a directory could be one of the table because of the directory's own name."""
    return _SIGNS.search(directory + b"/") is not None


class Repositories:
    """The directories that git takes for repositories because of what is in them; fed with every entry of a tree."""

    _MARKS = {b"head": 1, b"objects": 2, b"refs": 4, b"commondir": 8}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self._marks: dict[bytes, int] = {}

    def see(self, path: bytes) -> int:
        """Look at an entry; return how many bytes are kept of it."""
        parent, _, name = path.rpartition(b"/")
        mark = self._MARKS.get(name.lower())
        if mark is None:
            return 0
        self._marks[parent] = self._marks.get(parent, 0) | mark
        return len(parent) + 100

    def found(self) -> list[bytes]:
        """Return them; those named .git are among them."""
        return [path for path, marks in self._marks.items() if marks & 1 and (marks & 6 == 6 or marks & 8)]

    @staticmethod
    def rule_for(name: bytes) -> Rule | None:
        """Return the rule that a name, relative to a repository, falls under."""
        return next((rule for rule in _IN_REPOSITORY if rule.pattern.fullmatch(name.lower())), None)


def symlink_digest(target: bytes) -> str:
    """Return what a symbolic link is; never the same as for a file."""
    from hashlib import sha256

    return "link:" + sha256(target).hexdigest()


class Digest:
    """What a file is: fed with its content in order. A file that may be executed differs from one that may not."""

    def __init__(self, rule: Rule | None) -> None:
        from hashlib import sha256

        self.rule = rule
        self._hash = sha256()
        self._position = 0
        self._head = bytearray()

    def add(self, offset: int, data: memoryview | bytes) -> None:
        """Take a piece of the content; what lies before it and was not given is zeroes."""
        while self._position < offset:
            self._take(bytes(min(offset - self._position, _READ_BYTES)))
        self._take(data)

    def finish(self, size: int, mode: int) -> str:
        """Return what a file of that size and mode is."""
        self.add(size, b"")
        return ("run:" if mode & 0o111 else "file:") + self._hash.hexdigest()

    @property
    def is_hook(self) -> bool:
        """Say whether the file is one of the table, now that its content is known."""
        return self.rule is not None and (self.rule.judges is None or self.rule.judges(bytes(self._head)))

    def _take(self, data: memoryview | bytes) -> None:
        self._hash.update(data)
        self._position += len(data)
        if len(self._head) <= MAX_BYTES:
            self._head += data[: MAX_BYTES + 1 - len(self._head)]


def digest_of(fd: int, size: int, mode: int, rule: Rule | None) -> tuple[str, bool]:
    """Return what an open file is, and whether it is one of the table.

    Raises:
        OSError: from reading.
    """
    digest = Digest(rule)
    at = 0
    while at < size and (data := os.pread(fd, min(size - at, _READ_BYTES), at)):
        digest.add(at, data)
        at += len(data)
    return digest.finish(at, mode), digest.is_hook


class HookCensus:
    """The files of the table in a tree that goes into a workspace: what may come back out of it."""

    def __init__(self) -> None:
        self._found: dict[bytes, str] = {}
        # Hooks and settings of a repository, if there is one around them.
        self._possible: dict[bytes, str] = {}
        self._repositories = Repositories()
        self._open: tuple[Entry, Digest] | None = None

    def begin(self, entry: Entry) -> None:
        """Look at the next entry of the tree.

        Raises:
            OSError: from reading a file.
        """
        self._close()
        self._repositories.see(entry.path)
        if entry.kind is Kind.DIRECTORY or entry.size > _MAX_CENSUS_BYTES:
            return
        rule = rule_for(entry.path, entry.kind)
        if rule is None and not _IN_SOME_REPOSITORY.search(entry.path):
            return
        if entry.kind is Kind.SYMLINK:
            self._note(entry, symlink_digest(entry.target), is_hook=rule is not None)
        elif entry.kind is Kind.FILE and entry.fd != NO_CONTENT:
            found, is_hook = digest_of(entry.fd, entry.size, entry.mode, rule)
            self._note(entry, found, is_hook=is_hook)
        elif entry.kind is Kind.FILE:
            self._open = (entry, Digest(rule))

    def data(self, piece: Data) -> None:
        """Look at content of the entry that came last."""
        if self._open is not None:
            self._open[1].add(piece.offset, piece.data)

    def found(self) -> tuple[HostHook, ...]:
        """Return them, when the tree has come to its end."""
        self._close()
        for directory in self._repositories.found():
            prefix = directory + b"/" if directory else b""
            for path, digest in self._possible.items():
                if path.startswith(prefix) and Repositories.rule_for(path[len(prefix) :]):
                    self._found[path] = digest
        return tuple(HostHook(shown(path), digest) for path, digest in sorted(self._found.items()))

    def _close(self) -> None:
        if self._open is not None:
            (entry, digest), self._open = self._open, None
            found = digest.finish(entry.size, entry.mode)
            self._note(entry, found, is_hook=digest.is_hook)

    def _note(self, entry: Entry, digest: str, *, is_hook: bool) -> None:
        if is_hook:
            self._found[entry.path] = digest
        if _IN_SOME_REPOSITORY.search(entry.path):
            self._possible[entry.path] = digest
