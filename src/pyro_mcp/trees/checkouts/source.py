"""A git checkout of the host, or a directory inside one, as the source of a tree.

Files are copied from the working tree. Every `.git` in it, including those of submodules and nested repositories, is
replaced by one that is safe to use in a guest.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.protocol.names import join, parent_of, shown_briefly
from pyro_mcp.trees.checkouts.git import Repository, UnusableError, open_repository
from pyro_mcp.trees.checkouts.history import GuestRepository
from pyro_mcp.trees.directory import DirectorySource, Level, measured
from pyro_mcp.trees.entries import WAYS_OUT, Entry, SeedRules

_GIT = b".git"


def open_checkout(
    top: Path, directory: Path, rules: SeedRules, scratch: Path, *, avoid: Iterable[Path] = ()
) -> DirectorySource:
    """Return the source of a directory in the checkout `top`.

    A directory without tracked files, or whose `.git` is unusable, is treated like any other directory.

    Raises:
        PyroError: UNAVAILABLE if only tracked files are requested, and git can't list them.
    """
    try:
        repository = open_repository(top, directory)
        if directory == top or repository.entries:
            return CheckoutSource(repository, rules, scratch, avoid=avoid)
    except UnusableError as error:
        if rules.tracked_only:
            raise _unlisted(directory, error) from error
        if directory == top:
            plain = DirectorySource(directory, avoid=avoid)
            plain.notes.remark(f"git is not usable in the guest: {error}. The directory was copied as it is.")
            return plain
    return DirectorySource(directory, avoid=avoid)


def _unlisted(directory: Path, error: UnusableError) -> PyroError:
    return PyroError(ErrorCode.UNAVAILABLE, f"git can't list the tracked files of {directory}: {error}", hint=WAYS_OUT)


class CheckoutSource(DirectorySource):
    """A checkout. New git directories are created in `scratch`, and removed afterwards."""

    def __init__(self, repository: Repository, rules: SeedRules, scratch: Path, *, avoid: Iterable[Path] = ()) -> None:
        super().__init__(repository.directory, avoid=avoid)
        self._directory = repository.directory
        self._rules = rules
        self._scratch = scratch / "repository"
        self._repositories: list[tuple[bytes, Repository]] = [(b"", repository)]
        self._ignored: set[bytes] = set()
        self._tracked: set[bytes] = {b""}

    def items(self) -> Generator[Entry]:
        """Yield the tree, with git directories at the end.

        Raises:
            PyroError: as for any directory.
        """
        try:
            self._ask(b"", self._repositories[0][1])
        except UnusableError as error:
            if self._rules.tracked_only:
                raise _unlisted(self._directory, error) from error
            self.notes.skip(_GIT, f"git does not work in the guest: {error}")
            self._repositories.clear()
        yield from super().items()
        for place, repository in self._repositories:
            yield from self._git_directory(place, repository)

    def select(self, level: Level) -> None:
        """Leave out git directories, and files that git ignores."""
        names = (level.files, level.links, level.directories)
        if any(_GIT in each for each in names):
            for each in names:
                each[:] = [name for name in each if name != _GIT]
            if level.path:
                self._enter_repository(level.path)
        super().select(level)
        for each in names:
            each[:] = [name for name in each if self._takes(join(level.path, name))]

    def _is_excluded(self, path: bytes) -> bool:
        return self.exclusion is not None and self.exclusion.covers(path)

    def _takes(self, path: bytes) -> bool:
        if self._rules.tracked_only:
            return path in self._tracked
        if path in self._ignored:
            self.notes.ignore(path, *measured(os.path.join(os.fsencode(self._directory), path)))
            return False
        return True

    def _enter_repository(self, path: bytes) -> None:
        directory = self._directory / os.fsdecode(path)
        try:
            repository = open_repository(directory, directory)
            self._ask(path, repository)
        except UnusableError as error:
            self.notes.skip(join(path, _GIT), f"git does not work there in the guest: {error}")
            return
        self._repositories.append((path, repository))

    def _ask(self, place: bytes, repository: Repository) -> None:
        """Ask git which files of a repository are to be taken."""
        if self._rules.tracked_only:
            for entry in repository.entries:
                path = join(place, entry.path)
                while path not in self._tracked:
                    self._tracked.add(path)
                    path = parent_of(path)
        elif not self._rules.include_ignored:
            self._ignored.update(join(place, name) for name in repository.ignored())

    def _git_directory(self, place: bytes, repository: Repository) -> Generator[Entry]:
        path = join(place, _GIT)
        made = GuestRepository(repository, self._scratch, lambda name: self._is_excluded(join(place, name)))
        try:
            made.make()
            for entry in DirectorySource(self._scratch).items():
                yield entry._replace(path=join(path, entry.path) if entry.path else path)
        except UnusableError as error:
            self.notes.skip(path, f"git is not usable there in the guest: {error}")
        finally:
            remove_tree(self._scratch)
        prefix = f"{shown_briefly(place)}: " if place else ""
        for remark in made.remarks:
            self.notes.remark(prefix + remark)
