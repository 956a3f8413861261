"""Values about files in a guest.

Paths are bytes, relative to the area's root, and the empty one is the root itself; none holds `..`, begins with a slash
or has a NUL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.protocol import tasks


class Area(StrEnum):
    """Name a tree in a guest that tasks work on."""

    WORKSPACE = tasks.WORKSPACE
    #: The whole root, in a guest that is only looked at.
    ROOT = tasks.ROOT
    #: All that the workload sees, in a guest.
    GUEST = tasks.GUEST


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in a listing. `mode` are its permission bits."""

    path: bytes
    kind: FileKind
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: bytes | None


@dataclass(frozen=True, slots=True)
class FileListing:
    """Files, in the order of their paths; more than these are there if it is `truncated`."""

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
    """A file that was written."""

    size_bytes: int
    mode: int
    created: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """The entry at a path; no link was followed on the way. `data` is the beginning of a regular file."""

    kind: FileKind
    mode: int
    size_bytes: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Write:
    """Give a file this content and mode. With `created`, nothing may be there yet; directories above it are made."""

    path: bytes
    data: bytes
    mode: int
    created: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file or a link. Directories that are empty then stay."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The contents of a stream: names, not counting the root, and bytes of content."""

    entry_count: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class DiffBounds:
    """How much a diff may be: entries, bytes of one file, and bytes of all."""

    max_entries: int
    max_file_bytes: int
    max_total_bytes: int


@dataclass(frozen=True, slots=True)
class DiffSide:
    """The entry of a name on one side."""

    kind: FileKind
    mode: int
    size_bytes: int
    link_target: bytes | None


class ContentForm(Enum):
    """Say how much of the content of a name's two files was sent.

    `WHOLE` and `BINARY` are all of both, in one part; `SAME` is nothing, since both hold the same. `MOVED` are a file
    that went and the one with the same content that came, which says where it was `moved_from`.
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
    """Lines of the old and the new file, and the number of the first in each, from 1."""

    old_line: int
    new_line: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class DiffEntry:
    """One name that differs. Directories that came or went are listed only where nothing in them is."""

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
    """A name that was left out because rules ignore it; those of one of the two trees only, or of both."""

    path: bytes
    by_one_only: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """The names that were left out because rules ignore them: the first ones, and how many there are.

    `by_one_count` says of how many the rules of the workspace and of the baseline do not agree.
    """

    names: tuple[IgnoredName, ...] = ()
    count: int = 0
    by_one_count: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """What a tar stream has: names, not counting the root; and what was left out of it."""

    entry_count: int
    ignored: Ignored


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """The names that differ, in the order of their paths; `total` counts those beyond the list too."""

    entries: tuple[DiffEntry, ...]
    total: int
    truncated: bool
    ignored: Ignored = field(default_factory=Ignored)


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the workspace's disk is."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    file_count: int
    free_file_count: int
