"""The values of a tree: entries, content and bounds, and the protocols between a source of a tree and its taker."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol.names import shown_briefly

NO_CONTENT = -1
MAX_NOTES = 100
MAX_LARGEST = 5
#: For the project of an MCP server that can't be used.
WAYS_OUT = (
    "Start the server with another --project-path DIR, with --repo-url URL, or with --no-project-source; or give"
    " seed_path."
)
KEPT_MODE = 0o777


class Kind(StrEnum):
    """The kind of an entry. `LINK` is a further name of a file that came before it."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    LINK = "link"


class TreeMode(StrEnum):
    """The kind of a tree's source, by its public name."""

    EMPTY = "empty"
    DIRECTORY = "directory"
    TAR_ARCHIVE = "tar_archive"


class Entry(NamedTuple):
    """One name in a tree. Its directory comes before it; the tree's root has the empty path.

    A file's content is in `fd`, to be read before the next item is asked for, or in the `Data` that follow.
    `segments` are the parts (offset, length) of a sparse file that hold data, in order; None is all of it. A directory
    may come twice: the second says what its mode really is.
    """

    path: bytes
    kind: Kind
    mode: int
    mtime_ns: int
    size: int = 0
    target: bytes = b""
    fd: int = NO_CONTENT
    segments: tuple[tuple[int, int], ...] | None = None


class Data(NamedTuple):
    """A piece of the content of the file that came last. The view is good until the next item is asked for."""

    offset: int
    data: memoryview


class TreeSource(Protocol):
    """Something that lists a tree. Those of a git checkout, or of another kind of archive, are classes like this."""

    @property
    def mode(self) -> TreeMode:
        """Return what kind of source this is."""
        ...

    @property
    def name(self) -> str:
        """Return where the tree is taken from, as the user knows it."""
        ...

    @property
    def notes(self) -> Notes:
        """Return what was left out or changed meanwhile; complete when `items` has come to its end."""
        ...

    def use(self, scratch: Path) -> None:
        """Take a directory for temporary files, if it needs one."""
        ...

    def check(self) -> None:
        """Refuse a source that must not be used, before anything of it is.

        Raises:
            PyroError: naming the entry that is at fault.
        """
        ...

    def items(self) -> Generator[Entry | Data]:
        """List the tree. Only when this comes to its end without an exception was the tree acceptable.

        Raises:
            PyroError: naming the entry that is at fault.
        """
        ...


class Note(NamedTuple):
    """Something about one entry: its name, as it may be printed, and a few words."""

    name: str
    reason: str


class Notes:
    """Entries that were left out, or changed while they were read: the first hundred of each, and the counts.

    Entries that are ignored have counts of their own: their files, and the bytes in them. `remarks` are sentences.
    """

    def __init__(self) -> None:
        self.skipped_count = 0
        self.changed_count = 0
        self.ignored_count = 0
        self.ignored_bytes = 0
        self.remarks: list[str] = []
        self._ignored: list[tuple[int, int, str]] = []
        self._skipped: list[Note] = []
        self._changed: list[Note] = []

    def skip(self, path: bytes, reason: str) -> None:
        """Note that an entry was left out."""
        self.skipped_count += 1
        if len(self._skipped) < MAX_NOTES:
            self._skipped.append(Note(shown_briefly(path), reason))

    def change(self, path: bytes, reason: str) -> None:
        """Note that an entry was not the same from beginning to end."""
        self.changed_count += 1
        if len(self._changed) < MAX_NOTES:
            self._changed.append(Note(shown_briefly(path), reason))

    def ignore(self, path: bytes, file_count: int, byte_count: int) -> None:
        """Note that a file, or a directory with so many, was left out because rules say so."""
        self.ignored_count += file_count
        self.ignored_bytes += byte_count
        self._ignored.append((byte_count, file_count, shown_briefly(path)))
        self._ignored.sort(reverse=True)
        del self._ignored[MAX_LARGEST:]

    def remark(self, sentence: str) -> None:
        """Note something about the whole tree."""
        if len(self.remarks) < MAX_NOTES:
            self.remarks.append(sentence)

    @property
    def largest_ignored(self) -> tuple[Note, ...]:
        """Return the largest of the ignored entries, with their sizes."""
        return tuple(
            Note(path, f"{size / 1024**2:.1f} MiB in {'1 file' if count == 1 else f'{count} files'}")
            for size, count, path in self._ignored
        )

    @property
    def skipped(self) -> tuple[Note, ...]:
        """Return the first entries that were left out."""
        return tuple(self._skipped)

    @property
    def changed(self) -> tuple[Note, ...]:
        """Return the first entries that changed while they were read."""
        return tuple(self._changed)


@dataclass(frozen=True, slots=True)
class SeedRules:
    """Which files of a seed are taken. Those that git ignores are not, where the seed is a checkout.

    `exclude` are patterns as in a .gitignore at the top of the seed.
    """

    include_ignored: bool = False
    tracked_only: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a tree may be. The defaults fit a workspace's disk of 16 GiB."""

    max_entries: int = 500_000
    max_bytes: int = 16 * 1024**3
    # Of all names and link targets together: what is kept in memory for an archive.
    max_name_bytes: int = 64 * 1024**2
    # Of what comes out of a compressed archive to what went in, where that is more than `ratio_free_bytes`.
    max_ratio: int = 250
    ratio_free_bytes: int = 256 * 1024**2


class Tally:
    """Entries and bytes of a tree so far, held against the bounds. `what` names the tree in errors."""

    def __init__(self, bounds: Bounds, what: str) -> None:
        self.entry_count = 0
        self.byte_count = 0
        self._bounds = bounds
        self._what = what

    def add(self, path: bytes, byte_count: int = 0, size: int = 0) -> None:
        """Count an entry with so many bytes of data, holes not among them, in a file of that size.

        Raises:
            PyroError: INVALID if there are too many, or they are too much.
        """
        self.entry_count += 1
        self.byte_count += byte_count
        bounds = self._bounds
        if self.entry_count > bounds.max_entries:
            raise too_much(self._what, f"it has more than {bounds.max_entries} entries")
        if self.byte_count > bounds.max_bytes or size > bounds.max_bytes:
            limit = f"{bounds.max_bytes / 1024**3:g} GiB"
            raise too_much(self._what, f"with {shown_briefly(path)} it is more than {limit}")


def data_bytes(entry: Entry) -> int:
    """Return how many bytes of content a file has, holes not among them."""
    return entry.size if entry.segments is None else sum(length for _, length in entry.segments)


def too_much(what: str, why: str) -> PyroError:
    """Make the error for a tree that is beyond its bounds."""
    return PyroError(ErrorCode.INVALID, f"{what} is too large: {why}", hint="Take a part of it.")
