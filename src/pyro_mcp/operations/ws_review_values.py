"""The requests and results of diff, export, snapshots, reset and offline disks.

Owns their fields and what is said of each. Refuses to know what becomes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.operations import ws_named
from pyro_mcp.operations.fields import Place, about, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.ws_file_values import FileResult  # noqa: TC001 - as below
from pyro_mcp.operations.ws_values import NoteResult  # noqa: TC001 - schemas are made of annotations, at run time

BASELINE = "baseline"
SNAPSHOT_NAME = about(
    "The snapshot's name: letters, digits, dots, dashes and underscores.",
    place=Place.POSITIONAL,
    names="NAME",
    max_length=64,
    form="at most 63 letters, digits, dots, dashes and underscores",
)
OUTPUT_PATH = ws_named.host_path(
    "Where on this host it goes: a path where nothing is yet.", place=Place.OPTION, names="HOST_PATH", called="--output"
)
_WRITTEN_TO = said("Where it is on this host.")
_ONE_FILE = "workspace_diff with path=… shows one file or directory."


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRequest:
    """Ask what differs in a workspace."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(
        default="/workspace",
        metadata=ws_named.path("Show only what is at or below this path.", place=Place.OPTION),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Ask for a file or directory of a workspace to be taken out."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(metadata=ws_named.path("A file or directory under /workspace."))
    output_path: str = field(metadata=OUTPUT_PATH)
    include_host_hooks: bool = field(
        default=False,
        metadata=about(
            "Let files out, too, that a tool of this host would run by itself (git hooks, editor and agent settings)."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """Name one snapshot of a workspace."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    snapshot_name: str = field(metadata=SNAPSHOT_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRequest:
    """Ask for a workspace to begin again."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    snapshot: str = field(
        default=BASELINE,
        metadata=about(
            "The snapshot that /workspace begins with; baseline is what it was created with.",
            names="NAME",
            max_length=64,
            form="the name of a snapshot, or baseline",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskExportRequest:
    """Ask for the whole file system of a stopped workspace as one image."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    output_path: str = field(metadata=OUTPUT_PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskListRequest:
    """Ask what a directory of a stopped workspace's whole file system holds."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(default="/", metadata=ws_named.path("A directory or file of the guest."))
    recursive: bool = field(default=False, metadata=ws_named.RECURSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReadRequest:
    """Ask for a text file of a stopped workspace's whole file system."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(metadata=ws_named.path("A file of the guest."))
    max_bytes: int = field(default=ws_named.DEFAULT_READ_BYTES, metadata=ws_named.MAX_BYTES)


@dataclass(frozen=True, slots=True)
class DiffCounts(Result):
    """How many files differ."""

    total: int = field(metadata=said("All that differ."))
    added: int = field(metadata=said("New ones."))
    modified: int = field(metadata=said("With another content or other permissions."))
    deleted: int = field(metadata=said("Those that are gone."))
    type_changed: int = field(metadata=said("Those that are of another kind now, such as a link instead of a file."))
    text_patched: int = field(metadata=said("How many of them the patch brings."))
    non_text: int = field(metadata=said("How many the patch can't bring: binary files, directories, and so on."))


@dataclass(frozen=True, slots=True)
class DiffFileResult(Result):
    """One file that differs. What does not apply is null: the old side of a new file, for example."""

    path: str = field(metadata=said("Its path below /workspace.", guest=True))
    status: str = field(metadata=said("What became of it: added, modified, deleted, type_changed."))
    patched: bool = field(metadata=said("Whether the patch brings the change."))
    reason: str = field(metadata=said("Why it does not."))
    added_lines: int = field(metadata=said("How many lines were added."))
    removed_lines: int = field(metadata=said("How many lines were removed."))
    old_kind: str | None = field(metadata=said("What it was: file, directory, symlink, other."))
    new_kind: str | None = field(metadata=said("What it is."))
    old_mode: str | None = field(metadata=said("The permission bits it had."))
    new_mode: str | None = field(metadata=said("The permission bits it has."))
    old_size_bytes: int | None = field(metadata=said("The size it had."))
    new_size_bytes: int | None = field(metadata=said("The size it has."))
    old_target: str | None = field(metadata=said("What the symbolic link led to.", guest=True))
    new_target: str | None = field(metadata=said("What the symbolic link leads to.", guest=True))


@dataclass(frozen=True, slots=True)
class DiffResult(Result):
    """What differs between a workspace and its baseline."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    changed: bool = field(metadata=said("Whether anything differs."))
    summary: DiffCounts = field(metadata=said("How many files differ, and how."))
    entries: tuple[DiffFileResult, ...] = field(metadata=said("The files, sorted by path.", most=100, rest=_ONE_FILE))
    truncated: bool = field(metadata=said("Whether more files differ than could be listed; total counts them, too."))
    patch: str = field(
        metadata=said(
            "The changes as one patch that git apply takes on the tree that the workspace was seeded from.",
            guest=True,
            most=20_000,
            rest=_ONE_FILE,
        )
    )


@dataclass(frozen=True, slots=True)
class HostHookResult(Result):
    """A file that a tool of the host would run by itself."""

    name: str = field(metadata=said("Its path in what was exported.", guest=True))
    tool: str = field(metadata=said("Who would run it."))
    kept: bool = field(metadata=said("Whether it came out: it was in the baseline, or it was asked for."))


@dataclass(frozen=True, slots=True)
class ExportResult(Result):
    """What came out of a workspace."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    output_path: str = field(metadata=_WRITTEN_TO)
    kind: str = field(metadata=said("What it is: file, directory."))
    entry_count: int = field(metadata=said("How many files, directories and links came out."))
    bytes_written: int = field(metadata=said("How much content came out."))
    left_out_count: int = field(metadata=said("How many entries were left out: devices, links that lead outside."))
    left_out: tuple[NoteResult, ...] = field(metadata=said("The first hundred of them.", guest=True, most=30))
    host_hook_count: int = field(metadata=said("How many files a tool of this host would run by itself."))
    host_hooks: tuple[HostHookResult, ...] = field(metadata=said("The first hundred of them.", guest=True, most=30))


@dataclass(frozen=True, slots=True)
class SnapshotFacts(Result):
    """One snapshot."""

    snapshot_name: str = field(metadata=said("Its name."))
    created_at: str = field(metadata=said("When it was made (UTC)."))
    size_bytes: int = field(metadata=said("Space it takes on this host's disk."))


@dataclass(frozen=True, slots=True)
class SnapshotResult(Result):
    """A snapshot that was made."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    snapshot_name: str = field(metadata=said("Its name."))
    created_at: str = field(metadata=said("When it was made (UTC)."))
    size_bytes: int = field(metadata=said("Space it takes on this host's disk."))


@dataclass(frozen=True, slots=True)
class SnapshotListResult(Result):
    """All snapshots of a workspace."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    count: int = field(metadata=said("How many there are, the baseline among them."))
    snapshots: tuple[SnapshotFacts, ...] = field(
        metadata=said("The baseline, then the others, the oldest first.", most=100)
    )


@dataclass(frozen=True, slots=True)
class SnapshotDeleteResult(Result):
    """A snapshot that is gone."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    snapshot_name: str = field(metadata=said("Its name."))
    deleted: bool = field(metadata=said("Always true: what can't be deleted is an error."))


@dataclass(frozen=True, slots=True)
class DiskExportResult(Result):
    """The image of a workspace's file system."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    output_path: str = field(metadata=_WRITTEN_TO)
    format: str = field(metadata=said("What it is: a raw ext4 image."))
    size_bytes: int = field(metadata=said("Its size; it is sparse."))
    used_bytes: int = field(metadata=said("How much of it holds data."))


@dataclass(frozen=True, slots=True)
class DiskListResult(Result):
    """What stands at a path of a stopped workspace's file system."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    recursive: bool = field(metadata=said("Whether what is below was listed as well."))
    count: int = field(metadata=said("How many entries follow."))
    truncated: bool = field(metadata=said("Whether there are more than could be listed."))
    entries: tuple[FileResult, ...] = field(metadata=said("The entries, sorted by path.", most=200))


@dataclass(frozen=True, slots=True)
class DiskReadResult(Result):
    """A text file of a stopped workspace's file system, or its beginning."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    size_bytes: int = field(metadata=ws_named.FILE_SIZE)
    max_bytes: int = field(metadata=said("How much was to be read at most."))
    mode: str = field(metadata=ws_named.FILE_MODE)
    content: str = field(metadata=said("The content.", guest=True, most=20_000))
    truncated: bool = field(metadata=said("Whether the file has more than this content."))
