"""Walk a tree that may change meanwhile, descriptor by descriptor, without following links."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias

from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.names import MAX_DEPTH, MAX_PATH_BYTES, join

# Errors for an entry that was removed or replaced meanwhile.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
#: The entries of a directory: names, kinds and inode numbers.
Names: TypeAlias = "list[tuple[bytes, int, int]]"


class Found(NamedTuple):
    """A name in a directory: `kind` is one of `protocol.tasks`."""

    directory: int
    name: bytes
    path: bytes
    kind: int


def names_in(fd: int) -> Names:
    """Return the entries of a directory: names, kinds and inode numbers."""
    with os.scandir(fd) as entries:
        return [(entry.name.encode("utf-8", "surrogateescape"), _kind(entry), entry.inode()) for entry in entries]


def walk(
    fd: int,
    path: bytes,
    *,
    recursive: bool = True,
    limit: int = 0,
    closed: frozenset[bytes] = frozenset(),
    chosen: Callable[[bytes, Names], Names] | None = None,
) -> Generator[Found]:
    """Yield everything below the directory `fd`, in path order, each directory before its contents.

    With a `limit`, only the first names of a directory, at least that many, are kept. `closed` directories are not
    entered. `chosen` selects from the names in a directory, given its path.

    Raises:
        TaskError: if the tree is too deep, or its paths are too long.
    """

    def listed(directory: int, above: bytes) -> Names:
        names = names_in(directory)
        return names if chosen is None else chosen(above, names)

    levels = [(fd, path, _ordered(listed(fd, path), recursive=recursive, limit=limit))]
    try:
        while levels:
            directory, above, items = levels[-1]
            if not items:
                levels.pop()
                if directory != fd:
                    os.close(directory)
                continue
            name, kind = items.pop()
            if not name.endswith(b"/"):
                yield Found(directory, name, _below(above, name), kind)
                continue
            below = _below(above, name[:-1])
            if below in closed:
                continue
            if len(levels) > MAX_DEPTH:
                raise TaskError(tasks.TOO_LARGE, below)
            try:
                inner = os.open(name[:-1], OPEN_DIRECTORY, dir_fd=directory)
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise failure(error, below) from None
            levels.append((inner, below, []))
            levels[-1][2].extend(_ordered(listed(inner, below), recursive=True, limit=limit))
    finally:
        for directory, _, _ in levels:
            if directory != fd:
                os.close(directory)


def _ordered(names: Names, *, recursive: bool, limit: int) -> list[tuple[bytes, int]]:
    """Return a directory's names in reverse order. Each subdirectory has a second item, with a slash, for its contents.

    The contents of `a` thus come after `a.b`, as in the order of whole paths.
    """
    items: list[tuple[bytes, int]] = []
    for name, kind, _ in names:
        items.append((name, kind))
        if recursive and kind == tasks.DIRECTORY:
            items.append((name + b"/", kind))
    if limit and len(items) > 2 * limit:
        items = heapq.nsmallest(2 * limit, items)
    items.sort(reverse=True)
    return items


def _below(above: bytes, name: bytes) -> bytes:
    path = join(above, name)
    if len(path) > MAX_PATH_BYTES:
        raise TaskError(tasks.TOO_LARGE, path[:MAX_PATH_BYTES])
    return path


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_file(follow_symlinks=False):
        return tasks.FILE
    if entry.is_dir(follow_symlinks=False):
        return tasks.DIRECTORY
    return tasks.LINK if entry.is_symlink() else tasks.OTHER
