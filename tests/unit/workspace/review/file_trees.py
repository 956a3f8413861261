"""Trees for diffs: in memory, on the disk, and what a guest would say of two of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pyro_mcp.agent.file_values import ContentForm, DiffEntry, DiffPart, DiffSide, TreeDiff
from pyro_mcp.model.kinds import DiffChange, FileKind

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """One name: a file with content and mode, a link with its target, or a directory."""

    kind: FileKind
    data: bytes = b""
    mode: int = 0o644


Tree: TypeAlias = dict[bytes, Node]


def a_file(data: bytes | str, mode: int = 0o644) -> Node:
    return Node(FileKind.FILE, data.encode() if isinstance(data, str) else data, mode)


def a_link(target: bytes) -> Node:
    return Node(FileKind.LINK, target, 0o777)


def a_directory(mode: int = 0o755) -> Node:
    return Node(FileKind.DIRECTORY, b"", mode)


def with_parents(tree: Tree) -> Tree:
    """Return the tree with the directories that its names need."""
    whole = dict(tree)
    for path in tree:
        parent = path.rpartition(b"/")[0]
        while parent:
            whole.setdefault(parent, a_directory())
            parent = parent.rpartition(b"/")[0]
    return whole


def side(node: Node | None) -> DiffSide | None:
    if node is None:
        return None
    return DiffSide(
        kind=node.kind,
        mode=node.mode,
        size_bytes=len(node.data) if node.kind is FileKind.FILE else 0,
        link_target=node.data if node.kind is FileKind.LINK else None,
    )


def entry(
    path: bytes, before: Node | None, after: Node | None, *, binary: bool = False, is_ignored: bool = False
) -> DiffEntry:
    """Return what a guest says of one name; of what is large it sends the parts that differ."""
    files = [node.data if node is not None and node.kind is FileKind.FILE else None for node in (before, after)]
    form, parts = ContentForm.WHOLE, (DiffPart(1, 1, files[0] or b"", files[1] or b""),)
    if any(data is not None and b"\0" in data[:8000] for data in files):
        form, parts = (ContentForm.BINARY, parts) if binary else (ContentForm.NOT_TEXT, ())
    elif any(data is not None and len(data) > MAX_FILE_BYTES for data in files):
        form, parts = ContentForm.NO_ROOM, ()
    return DiffEntry(path, change(before, after), side(before), side(after), form, parts, is_ignored)


def with_moves(entries: list[DiffEntry], old: Tree, new: Tree) -> list[DiffEntry]:
    """Return the entries, those of files that were moved as a guest tells them."""

    def data(node: Node | None) -> bytes:
        return node.data if node is not None and node.kind is FileKind.FILE else b""

    gone = {each.path for each in entries if each.new is None and data(old.get(each.path))}
    sources: dict[bytes, bytes] = {}
    for each in entries:
        found = [path for path in gone if each.old is None and data(old[path]) == data(new.get(each.path))]
        if found:
            sources[each.path] = found[0]
            gone.remove(found[0])
    moved = {**sources, **dict.fromkeys(sources.values(), None)}
    return [
        replace(each, form=ContentForm.MOVED, parts=(), moved_from=moved[each.path]) if each.path in moved else each
        for each in entries
    ]


def told(old: Tree, new: Tree, *, total: int | None = None, binary: bool = False, moves: bool = False) -> TreeDiff:
    """Return what a guest says of two trees."""
    old, new = with_parents(old), with_parents(new)
    entries = [
        entry(path, old.get(path), new.get(path), binary=binary)
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    ]
    entries = with_moves(entries, old, new) if moves else entries
    return TreeDiff(tuple(entries), len(entries) if total is None else total, truncated=total is not None)


def change(before: Node | None, after: Node | None) -> DiffChange:
    if before is None:
        return DiffChange.ADDED
    if after is None:
        return DiffChange.DELETED
    return DiffChange.MODIFIED if before.kind is after.kind else DiffChange.TYPE_CHANGED


def put(root: Path, tree: Tree) -> None:
    """Write a tree to the disk."""
    os.makedirs(root, exist_ok=True)
    base = os.fsencode(root)
    for path, node in sorted(with_parents(tree).items()):
        place = base + b"/" + path
        match node.kind:
            case FileKind.DIRECTORY:
                os.mkdir(place)
            case FileKind.LINK:
                os.symlink(node.data, place)
            case _:
                with open(place, "wb") as file:
                    file.write(node.data)
                os.chmod(place, node.mode)


def taken(root: Path) -> Tree:
    """Read a tree from the disk, as git knows trees: no directories, and only the executable bit of a mode."""
    base = os.fsencode(root)
    found: Tree = {}
    for directory, names, files in os.walk(base):
        for name in [*names, *files]:
            place = directory + b"/" + name
            path = place[len(base) + 1 :]
            if os.path.islink(place):
                found[path] = a_link(os.readlink(place))
            elif name in files:
                with open(place, "rb") as file:
                    found[path] = a_file(file.read(), 0o755 if os.stat(place).st_mode & 0o100 else 0o644)
    return found


def as_git_sees(tree: Tree) -> Tree:
    """Return what `taken` would find of it."""
    seen = {path: node for path, node in tree.items() if node.kind is not FileKind.DIRECTORY}
    return {
        path: a_file(node.data, 0o755 if node.mode & 0o100 else 0o644) if node.kind is FileKind.FILE else node
        for path, node in seen.items()
    }
