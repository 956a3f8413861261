"""Values that describe files in a guest.

Paths are bytes relative to the area's root; the empty path is the root itself. They contain no `..` and no NUL, and
never start with a slash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.protocol import tasks


class Area(StrEnum):
    """A tree in a guest that tasks work on."""

    WORKSPACE = tasks.WORKSPACE
    #: The whole root of a guest that is being inspected.
    ROOT = tasks.ROOT
    #: Everything that the workload of a running guest sees.
    GUEST = tasks.GUEST


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in a listing. `mode` has its permission bits."""

    path: bytes
    kind: FileKind
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: bytes | None


@dataclass(frozen=True, slots=True)
class FileListing:
    """Files sorted by path; `truncated` means that there are more."""

    entries: tuple[FileEntry, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class FileContent:
    """The beginning of a file of `size_bytes`."""

    data: bytes
    size_bytes: int
    mode: int


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a file."""

    size_bytes: int
    mode: int
    created: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """The entry at a path, reached without following links. `data` is the beginning of a regular file."""

    kind: FileKind
    mode: int
    size_bytes: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file with this content and mode. With `created`, it must not exist yet. Missing parents are created."""

    path: bytes
    data: bytes
    mode: int
    created: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file or a link. Directories that become empty stay."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was unpacked from a stream: the number of names, without the root, and of bytes of content."""

    entry_count: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class DiffBounds:
    """The limits of a diff: entries, bytes per file, and total bytes."""

    max_entries: int
    max_file_bytes: int
    max_total_bytes: int


@dataclass(frozen=True, slots=True)
class DiffSide:
    """The state of a name on one side."""

    kind: FileKind
    mode: int
    size_bytes: int
    link_target: bytes | None


class ContentForm(Enum):
    """How much of the content of a name's two files was sent.

    `WHOLE` and `BINARY`: all of both, in one part. `SAME`: nothing, because both are equal. `MOVED`: nothing; marks a
    removed file and the added file with the same content, which has its former path in `moved_from`.
    """

    NO_ROOM = tasks.NO_ROOM
    NOT_TEXT = tasks.NOT_TEXT
    WHOLE = tasks.WHOLE
    BINARY = tasks.BINARY
    PARTS = tasks.PARTS
    SAME = tasks.SAME
    MOVED = tasks.MOVED


@dataclass(frozen=True, slots=True)
class DiffPart:
    """Lines of the old and the new file, with the number of the first line in each, from 1."""

    old_line: int
    new_line: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class DiffEntry:
    """One name that differs. Added and removed directories are listed only if none of their contents are."""

    path: bytes
    change: DiffChange
    old: DiffSide | None
    new: DiffSide | None
    form: ContentForm
    parts: tuple[DiffPart, ...] = ()
    is_ignored: bool = False
    moved_from: bytes | None = None


@dataclass(frozen=True, slots=True)
class IgnoredName:
    """A name omitted because rules ignore it: those of one of the two trees only (`by_one_only`), or of both."""

    path: bytes
    by_one_only: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """The names omitted because rules ignore them: the first ones, and their total number.

    `by_one_count` is the number of names on which the rules of workspace and baseline disagree.
    """

    names: tuple[IgnoredName, ...] = ()
    count: int = 0
    by_one_count: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """The contents of a tar stream: the number of names, without the root, and the omitted ones."""

    entry_count: int
    ignored: Ignored


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """The names that differ, sorted by path; `total` includes those beyond the list."""

    entries: tuple[DiffEntry, ...]
    total: int
    truncated: bool
    ignored: Ignored = field(default_factory=Ignored)


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of the workspace disk."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    file_count: int
    free_file_count: int
