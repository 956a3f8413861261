"""Resolve the names in a patch to files of a tree, either as written or without their prefix.

Paths through links, and ambiguous names, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from pyro_mcp.model.kinds import FileKind
from pyro_mcp.patches.failures import named, refused
from pyro_mcp.patches.names import PREFIXES, checked_path, possible_path, without_prefix
from pyro_mcp.patches.parts import Action, FilePatch, Patch

_BACKUPS = (".orig", ".bak", ".old", "~")


class Tree(Protocol):
    """Provides the files of a patch. Paths are relative to the workspace, with single slashes.

    Only the paths of `paths_of` are requested. Results must not change while a plan is computed.
    """

    def kind(self, path: str) -> FileKind | None:
        """Return the kind of the entry at a path, or None; links are not followed."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file's content. For a larger file, `MAX_FILE_BYTES` + 1 bytes suffice."""
        ...

    def mode(self, path: str) -> int:
        """Return a file's permission bits."""
        ...


def paths_of(patch: Patch) -> tuple[str, ...]:
    """Return every path that planning may request from a tree, parents before their contents."""
    paths: set[str] = set()
    for file in patch.files:
        for name in (file.old, file.new):
            for spelling in () if name is None else (name, without_prefix(name)):
                path = possible_path(spelling)
                if path is not None:
                    paths.add(path)
                    paths.update(parents(path))
    return tuple(sorted(paths, key=lambda path: path.split("/")))


def below(patch: Patch, directory: str) -> Patch | None:
    """Return the patch with paths relative to a directory, whose name ends with a slash.

    Returns None if it also has paths outside the directory.
    """
    files: list[FilePatch] = []
    for file in patch.files:
        names: list[str | None] = []
        for name in (file.old, file.new):
            lead = next((lead for lead in PREFIXES if name is not None and name.startswith(lead + directory)), None)
            if name is not None and lead is None:
                return None
            names.append(None if name is None or lead is None else lead + name[len(lead + directory) :])
        files.append(replace(file, old=names[0], new=names[1]))
    return Patch(tuple(files))


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a path, the outermost first."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def resolve(patch: Patch, file: FilePatch, stands: Callable[[str], bool]) -> tuple[str, str]:
    """Return the paths that a file's change reads from and writes to, which are usually the same.

    `stands` returns whether a path exists without leading through a link.

    Raises:
        PyroError: if a name is refused or ambiguous.
    """
    if file.action in {Action.RENAME, Action.COPY} and file.old is not None and file.new is not None:
        return checked_path(file.old, file.patch_line), checked_path(file.new, file.patch_line)
    if file.old is None or file.new is None:
        path = _existing(_spellings(patch, file, file.old or file.new or "", stands), file, stands)
    elif file.old == file.new:
        path = _existing(_spellings(patch, file, file.old, stands), file, stands)
    else:
        path = _of_two_names(file, file.old, file.new, stands)
    return path, path


def _spellings(patch: Patch, file: FilePatch, name: str, stands: Callable[[str], bool]) -> list[str]:
    """Return the names that may be meant, the likeliest first."""
    if file.bare:
        return [name]
    stripped = without_prefix(name)
    if not stripped:
        return [name]
    if file.prefixed:
        return [stripped]
    if name.startswith(PREFIXES):
        return [name, stripped] if patch.bare and _is_in_tree(name, stands) else [stripped, name]
    # `git apply` strips a component from every name. Models may omit prefixes, or prepend the repository's own
    # directory, which does not exist inside the repository.
    return [name] if file.action is not Action.MODIFY or _is_in_tree(name, stands) else [name, stripped]


def _is_in_tree(name: str, stands: Callable[[str], bool]) -> bool:
    """Return whether the outermost directory of a name exists."""
    path = possible_path(name)
    return path is not None and stands(path.partition("/")[0])


def _existing(spellings: list[str], file: FilePatch, stands: Callable[[str], bool]) -> str:
    if file.action is not Action.CREATE:
        for spelling in spellings:
            path = possible_path(spelling)
            if path is not None and stands(path):
                return path
    return checked_path(spellings[0], file.patch_line)


def _of_two_names(file: FilePatch, old: str, new: str, stands: Callable[[str], bool]) -> str:
    """Return the file that is meant by different names in the --- and +++ lines."""
    plain_old, plain_new = _without_known_prefix(old), _without_known_prefix(new)
    if plain_old == plain_new:
        return checked_path(plain_new, file.patch_line)
    stripped = without_prefix(old)
    if file.prefixed and stripped == without_prefix(new):
        whole = possible_path(old)
        # src/x.py and lib/x.py: a move that is not said to be one looks like two prefixes.
        if whole is None or not stands(whole):
            return checked_path(stripped, file.patch_line)
    elif plain_old in {plain_new + suffix for suffix in _BACKUPS}:
        return checked_path(plain_new, file.patch_line)
    raise refused(
        plain_new,
        f"the patch gives the file two names, {named(plain_old)} and {named(plain_new)}",
        hint="Give both lines the same name; to move a file, say 'rename from' and 'rename to' below `diff --git`.",
        reason="two_names",
        patch_line=file.patch_line,
    )


def _without_known_prefix(name: str) -> str:
    return name[2:] if name.startswith(PREFIXES) else name
