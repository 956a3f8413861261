"""Values about files in a guest.

Paths are bytes, relative to the area's root, and the empty one is the root itself; none holds `..`, begins with a slash
or has a NUL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
class DiffSide:
    """The entry of a name on one side. `content` is None if it is not UTF-8 text, too large, or over budget."""

    kind: FileKind
    mode: int
    size_bytes: int
    link_target: bytes | None
    content: bytes | None


@dataclass(frozen=True, slots=True)
class DiffEntry:
    """One name that differs. Directories that came or went are listed only where nothing in them is."""

    path: bytes
    change: DiffChange
    old: DiffSide | None
    new: DiffSide | None


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """The names that differ, in the order of their paths; `total` counts those beyond the list too."""

    entries: tuple[DiffEntry, ...]
    total: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the workspace's disk is."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    file_count: int
    free_file_count: int
