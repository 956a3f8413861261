"""A source of a tree that exists nowhere: for trees too large, or too odd, to be laid out for a test."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.trees.entries import Data, Entry, Kind, Notes, TreeMode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path


@dataclass
class Listed:
    """Entries as they are given; a file's content goes with it."""

    given: Iterable[Entry | tuple[Entry, bytes]]
    mode: TreeMode = TreeMode.DIRECTORY
    name: str = "a list"
    notes: Notes = field(default_factory=Notes)

    def use(self, scratch: Path) -> None:
        """It needs no directory."""

    def check(self) -> None:
        """Everything may be used."""

    def items(self) -> Generator[Entry | Data]:
        for each in self.given:
            if isinstance(each, Entry):
                yield each
                continue
            entry, content = each
            yield entry
            at = 0
            for offset, length in ((0, len(content)),) if entry.segments is None else entry.segments:
                if length:
                    yield Data(offset, memoryview(content)[at : at + length])
                at += length


def directory(path: bytes, mode: int = 0o755) -> Entry:
    return Entry(path, Kind.DIRECTORY, mode, 0)


def file(path: bytes, content: bytes = b"", mode: int = 0o644) -> tuple[Entry, bytes]:
    return Entry(path, Kind.FILE, mode, 0, len(content)), content


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, 0, target=target)


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, Kind.LINK, 0o644, 0, target=target)


def lay_out(root: str | os.PathLike[str], items: Iterable[Entry | tuple[Entry, bytes]]) -> None:
    """Make the listed tree on the host, to compare with."""
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    modes: list[tuple[bytes, int]] = []
    for each in items:
        entry, content = (each, b"") if isinstance(each, Entry) else each
        path = os.path.join(base, entry.path)
        match entry.kind:
            case Kind.DIRECTORY:
                os.makedirs(path, exist_ok=True)
                modes.append((path, entry.mode))
            case Kind.FILE:
                with open(path, "wb") as out:
                    out.write(content)
                modes.append((path, entry.mode))
            case Kind.SYMLINK:
                os.symlink(entry.target, path)
            case Kind.LINK:
                os.link(os.path.join(base, entry.target), path)
    for path, mode in modes:
        os.chmod(path, mode)
