"""Digests of the files that a host tool would run, for comparing an exported file with the seeded one.

The list is always complete.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyro_mcp.protocol.names import shown
from pyro_mcp.trees.entries import NO_CONTENT, Data, Entry, Kind
from pyro_mcp.trees.hooks.git_config import MAX_BYTES
from pyro_mcp.trees.hooks.table import Repositories, Rule, may_be_in_repository, rule_for, rule_in_repository

_READ_BYTES = 1024 * 1024
# Larger files are not settings, and can't be exported again.
_MAX_CENSUS_BYTES = 64 * 1024 * 1024


class HostHook(NamedTuple):
    """A file of the table in a tree: its name, as returned by `names.shown`, and its digest."""

    path: str
    digest: str


def symlink_digest(target: bytes) -> str:
    """Return the digest of a symbolic link, which never equals that of a file."""
    from hashlib import sha256

    return "link:" + sha256(target).hexdigest()


class Digest:
    """A file's digest, fed with its content in order. It depends on whether the file is executable."""

    def __init__(self, rule: Rule | None) -> None:
        from hashlib import sha256

        self.rule = rule
        self._hash = sha256()
        self._position = 0
        self._head = bytearray()

    def add(self, offset: int, data: memoryview | bytes) -> None:
        """Add a piece of the content; a gap before it counts as zeroes."""
        while self._position < offset:
            self._take(bytes(min(offset - self._position, _READ_BYTES)))
        self._take(data)

    def finish(self, size: int, mode: int) -> str:
        """Return the digest, given the file's size and mode."""
        self.add(size, b"")
        return ("run:" if mode & 0o111 else "file:") + self._hash.hexdigest()

    @property
    def is_hook(self) -> bool:
        """Return whether the file matches the table, now that its content is known."""
        return self.rule is not None and (self.rule.judges is None or self.rule.judges(bytes(self._head)))

    def _take(self, data: memoryview | bytes) -> None:
        self._hash.update(data)
        self._position += len(data)
        if len(self._head) <= MAX_BYTES:
            self._head += data[: MAX_BYTES + 1 - len(self._head)]


def digest_of(fd: int, size: int, mode: int, rule: Rule | None) -> tuple[str, bool]:
    """Return the digest of an open file, and whether it matches the table.

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
    """Collects the files of the table in a tree that is copied into a workspace, and may be exported again."""

    def __init__(self) -> None:
        self._found: dict[bytes, str] = {}
        # Files that are hooks or settings if their directory turns out to be a repository.
        self._possible: dict[bytes, str] = {}
        self._repositories = Repositories()
        self._open: tuple[Entry, Digest] | None = None

    def begin(self, entry: Entry) -> None:
        """Process the next entry of the tree.

        Raises:
            OSError: from reading a file.
        """
        self._close()
        self._repositories.see(entry.path)
        if entry.kind is Kind.DIRECTORY or entry.size > _MAX_CENSUS_BYTES:
            return
        rule = rule_for(entry.path, entry.kind)
        if rule is None and not may_be_in_repository(entry.path):
            return
        if entry.kind is Kind.SYMLINK:
            self._note(entry, symlink_digest(entry.target), is_hook=rule is not None)
        elif entry.kind is Kind.FILE and entry.fd != NO_CONTENT:
            found, is_hook = digest_of(entry.fd, entry.size, entry.mode, rule)
            self._note(entry, found, is_hook=is_hook)
        elif entry.kind is Kind.FILE:
            self._open = (entry, Digest(rule))

    def data(self, piece: Data) -> None:
        """Process content of the most recent entry."""
        if self._open is not None:
            self._open[1].add(piece.offset, piece.data)

    def found(self) -> tuple[HostHook, ...]:
        """Return the files found, after the last entry."""
        self._close()
        for directory in self._repositories.found():
            prefix = directory + b"/" if directory else b""
            for path, digest in self._possible.items():
                if path.startswith(prefix) and rule_in_repository(path[len(prefix) :]):
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
        if may_be_in_repository(entry.path):
            self._possible[entry.path] = digest
