"""The values of a tree (entries, content, limits), and the interface of its sources."""

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
#: The hint if the project of an MCP server can't be used.
WAYS_OUT = (
    "Start the server with another --project-path DIR, with --repo-url URL, or with --no-project-source; or give"
    " seed_path."
)
KEPT_MODE = 0o777


class Kind(StrEnum):
    """The kind of an entry. `LINK` is a hard link to an earlier file."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    LINK = "link"


class TreeMode(StrEnum):
    """The public names of the kinds of sources."""

    EMPTY = "empty"
    DIRECTORY = "directory"
    TAR_ARCHIVE = "tar_archive"


class Entry(NamedTuple):
    """One name in a tree. Its parent directory precedes it; the tree's root has the empty path.

    A file's content is read from `fd`, before the next item is requested, or follows as `Data` items. `segments` are
    the data segments (offset, length) of a sparse file, in order; None means that there are no holes. A directory may
    occur twice: the second entry has its real mode.
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
    """A piece of the content of the most recent file. The view is valid until the next item is requested."""

    offset: int
    data: memoryview


class TreeSource(Protocol):
    """A source of a tree: a directory, an archive or a git checkout."""

    @property
    def mode(self) -> TreeMode:
        """Return the kind of source."""
        ...

    @property
    def name(self) -> str:
        """Return the name of the source, for messages."""
        ...

    @property
    def notes(self) -> Notes:
        """Return notes on omitted and changed entries; complete once `items` is exhausted."""
        ...

    def use(self, scratch: Path) -> None:
        """Set the directory for temporary files, if the source needs one."""
        ...

    def check(self) -> None:
        """Validate the source before anything of it is used.

        Raises:
            PyroError: naming the offending entry.
        """
        ...

    def items(self) -> Generator[Entry | Data]:
        """Yield the tree. It is acceptable only if this ends without an exception.

        Raises:
            PyroError: naming the offending entry.
        """
        ...


class Note(NamedTuple):
    """A note on one entry: its printable name, and a short text."""

    name: str
    reason: str


class Notes:
    """Notes on entries that were omitted, or changed while they were read: the first hundred of each, and the counts.

    Ignored entries are counted separately, by files and bytes. `remarks` are sentences about the whole tree.
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
        """Note that an entry was omitted."""
        self.skipped_count += 1
        if len(self._skipped) < MAX_NOTES:
            self._skipped.append(Note(shown_briefly(path), reason))

    def change(self, path: bytes, reason: str) -> None:
        """Note that an entry changed while it was read."""
        self.changed_count += 1
        if len(self._changed) < MAX_NOTES:
            self._changed.append(Note(shown_briefly(path), reason))

    def ignore(self, path: bytes, file_count: int, byte_count: int) -> None:
        """Note that a file, or a directory with `file_count` files, was omitted because of rules."""
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
        """Return the largest ignored entries, with their sizes."""
        return tuple(
            Note(path, f"{size / 1024**2:.1f} MiB in {'1 file' if count == 1 else f'{count} files'}")
            for size, count, path in self._ignored
        )

    @property
    def skipped(self) -> tuple[Note, ...]:
        """Return the first omitted entries."""
        return tuple(self._skipped)

    @property
    def changed(self) -> tuple[Note, ...]:
        """Return the first entries that changed while they were read."""
        return tuple(self._changed)


@dataclass(frozen=True, slots=True)
class SeedRules:
    """Which files of a seed are included. In a git checkout, ignored files are not.

    `exclude` are patterns as in a .gitignore file at the top of the seed.
    """

    include_ignored: bool = False
    tracked_only: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a tree. The defaults fit a workspace disk of 16 GiB."""

    max_entries: int = 500_000
    max_bytes: int = 16 * 1024**3
    # The total size of names and link targets, which are kept in memory for an archive.
    max_name_bytes: int = 64 * 1024**2
    # The maximum compression ratio of an archive, once its output exceeds `ratio_free_bytes`.
    max_ratio: int = 250
    ratio_free_bytes: int = 256 * 1024**2


class Tally:
    """Counts the entries and bytes of a tree, and checks the limits. `what` names the tree in errors."""

    def __init__(self, bounds: Bounds, what: str) -> None:
        self.entry_count = 0
        self.byte_count = 0
        self._bounds = bounds
        self._what = what

    def add(self, path: bytes, byte_count: int = 0, size: int = 0) -> None:
        """Count an entry with `byte_count` bytes of data, excluding holes, in a file of `size` bytes.

        Raises:
            PyroError: INVALID if a limit is exceeded.
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
    """Return the number of bytes of a file's content, excluding holes."""
    return entry.size if entry.segments is None else sum(length for _, length in entry.segments)


def too_much(what: str, why: str) -> PyroError:
    """Return the error for a tree that exceeds a limit."""
    return PyroError(ErrorCode.INVALID, f"{what} is too large: {why}", hint="Use a part of it.")
