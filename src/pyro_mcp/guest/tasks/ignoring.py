"""Decide which names are ignored by the .gitignore files of a tree, as git does for untracked files.

They are parsed in the guest, and only those above a queried name: their author is the workload, and expensive patterns
then cost only its own guest.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, OPEN_FILE
from pyro_mcp.guest.tasks.walking import names_in
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.ignore_rules import RULES, RuleFile
from pyro_mcp.protocol.names import join

GIT = b".git"
_MAX_RULES_BYTES = 1024 * 1024
_MAX_LEFT_OUT = 10_000
# The limits for the names reported.
_MAX_NAMES, _MAX_NAMES_BYTES = 100, 32 * 1024
STRAIGHT = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS


class Verdict(NamedTuple):
    """Whether a path is ignored, and whether the rules of the two trees disagree about that."""

    is_ignored: bool
    by_one_only: bool


class Rules(NamedTuple):
    """A .gitignore file, and its directory; for one above the tree, `way` is the path from there to the tree."""

    base: bytes
    file: RuleFile
    way: bytes = b""


class Place(NamedTuple):
    """A directory: whether it is itself ignored, and the rules that apply to its entries."""

    is_ignored: bool
    rules: tuple[Rules, ...]


class TreeRules:
    """The rules of one tree, read when they are first needed."""

    def __init__(self, root: int, parsed: dict[bytes, RuleFile], above: tuple[Rules, ...] = ()) -> None:
        """Start with a root directory. `parsed` caches rules by content, so that two trees can share them."""
        self._above = Place(is_ignored=False, rules=above)
        self._root = root
        self._parsed = parsed
        self._places: dict[bytes, Place] = {}

    def ignores(self, path: bytes, *, is_directory: bool) -> bool:
        """Return whether a path, or a directory above it, is ignored. `.git` always is."""
        return _is_ignored(self.place(path.rpartition(b"/")[0]), path, is_directory=is_directory)

    def place(self, path: bytes) -> Place:
        """Return the rules for the entries of a directory, which need not exist."""
        found = self._places.get(path)
        if found is None:
            found = self._places[path] = self._read(path)
        return found

    def names(self, directory: bytes) -> list[tuple[bytes, bool]]:
        """Return the paths of a directory's entries, and whether each is a directory."""
        try:
            fd = syscalls.openat2(self._root, directory, OPEN_DIRECTORY, STRAIGHT)
        except OSError:
            return []
        try:
            return [(join(directory, name), kind == tasks.DIRECTORY) for name, kind, _ in names_in(fd)]
        finally:
            os.close(fd)

    def _read(self, path: bytes) -> Place:
        above = self.place(path.rpartition(b"/")[0]) if path else self._above
        if path and _is_ignored(above, path, is_directory=True):
            return Place(is_ignored=True, rules=())
        try:
            directory = syscalls.openat2(self._root, path or b".", OPEN_DIRECTORY, STRAIGHT)
        except OSError:
            return above
        try:
            rules = above.rules
            if path and _exists(GIT, directory):
                # A nested repository: git applies only its own rules.
                rules = ()
            data = _content(directory)
        finally:
            os.close(directory)
        if data is None:
            return Place(is_ignored=False, rules=rules)
        if data not in self._parsed:
            self._parsed[data] = RuleFile(data)
        return Place(is_ignored=False, rules=(*rules, Rules(path, self._parsed[data])))


class LeftOut:
    """The omitted names. A directory counts as one: its contents are not examined."""

    def __init__(self) -> None:
        self.count = 0
        self._names: list[tuple[bytes, bool]] = []

    def add(self, path: bytes, *, by_one_only: bool) -> None:
        """Count a name; directories end with a slash."""
        self.count += 1
        if len(self._names) < _MAX_LEFT_OUT:
            self._names.append((path, by_one_only))

    def gather(self, since: int, directory: bytes) -> None:
        """Replace all names added since then by the directory that contains them."""
        by_one_only = any(by_one for _, by_one in self._names[since:])
        del self._names[since:]
        self.count = since
        self.add(directory + b"/", by_one_only=by_one_only)

    def report(self) -> Document:
        """Return the count and the first names, beginning with those that only one tree's rules ignore."""
        names: list[list[object]] = []
        room = _MAX_NAMES_BYTES
        for path, by_one_only in sorted(self._names, key=lambda each: (not each[1], each[0])):
            room -= len(path)
            if room < 0 or len(names) == _MAX_NAMES:
                break
            names.append([os.fsdecode(path), by_one_only])
        by_one = sum(by_one_only for _, by_one_only in self._names)
        return {"ignored": self.count, "ignored_by_one": by_one, "ignored_names": names}


class Ignored:
    """The rules of a workspace and its baseline. A path is ignored if either says so."""

    def __init__(self, new: int, old: int, above: tuple[Rules, ...]) -> None:
        parsed: dict[bytes, RuleFile] = {}
        self._new, self._old = TreeRules(new, parsed, above), TreeRules(old, parsed, above)

    def verdict(self, path: bytes, *, is_directory: bool) -> Verdict:
        """Return the combined verdict on a path."""
        above = path.rpartition(b"/")[0]
        new, old = self._new.place(above), self._old.place(above)
        by_new = _is_ignored(new, path, is_directory=is_directory)
        by_old = by_new if new == old else _is_ignored(old, path, is_directory=is_directory)
        return Verdict(by_new or by_old, by_new != by_old)

    def hides_all_in(self, directory: bytes) -> bool:
        """Return whether an added directory has rules that ignore all its contents, as tools create in their caches."""
        place = self._new.place(directory)
        if not place.rules or place.rules[-1].base != directory:
            return False
        return all(_is_ignored(place, path, is_directory=is_dir) for path, is_dir in self._new.names(directory))


def _is_ignored(above: Place, path: bytes, *, is_directory: bool) -> bool:
    if above.is_ignored or path.rpartition(b"/")[2] == GIT:
        return True
    for base, file, way in reversed(above.rules):
        verdict = file.verdict(path[len(base) + 1 :] if base else way + path, is_directory=is_directory)
        if verdict is not None:
            return verdict
    return False


def _exists(name: bytes, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _content(directory: int) -> bytes | None:
    """Return the content of a directory's .gitignore, or None. Like git, don't follow a link."""
    try:
        fd = os.open(RULES, OPEN_FILE | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = b""
        while len(data) <= _MAX_RULES_BYTES and (more := os.read(fd, _MAX_RULES_BYTES)):
            data += more
        return data if len(data) <= _MAX_RULES_BYTES else None
    except OSError:
        return None
    finally:
        os.close(fd)
