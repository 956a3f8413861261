"""The requests and results of files, patches and pushes.

Owns their fields and what is said of each. Refuses to know what becomes of them: that is `workspace_files`' part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.operations import ws_named
from pyro_mcp.operations.fields import Place, about, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.ws_values import NoteResult  # noqa: TC001 - schemas are made of annotations, at run time

WORKSPACE = "/workspace"
_READ_ON = "workspace_file_read with offset=N and max_bytes=20000 reads on from byte N."


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPushRequest:
    """Ask for a tree of the host to be pushed into a workspace."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    source_path: str = field(
        metadata=ws_named.host_path(
            "A directory of this host, or a .tar, .tar.gz or .tgz file.", place=Place.POSITIONAL, names="SOURCE"
        )
    )
    dest: str = field(
        default=WORKSPACE,
        metadata=ws_named.path(
            "The directory in the workspace that its content goes into; made if need be.", place=Place.OPTION
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileListRequest:
    """Ask what a directory of a workspace holds."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(default=WORKSPACE, metadata=ws_named.path("A directory or file under /workspace."))
    recursive: bool = field(default=False, metadata=ws_named.RECURSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReadRequest:
    """Ask for a text file of a workspace."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(metadata=ws_named.path("A file under /workspace."))
    max_bytes: int = field(default=ws_named.DEFAULT_READ_BYTES, metadata=ws_named.MAX_BYTES)
    offset: int = field(default=0, metadata=ws_named.OFFSET)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWriteRequest:
    """Ask for a text file of a workspace to be written."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    path: str = field(metadata=ws_named.path("A file under /workspace; its directories are made if need be."))
    text: str = field(
        metadata=about(
            "The whole new content.",
            names="TEXT",
            from_file="--text-file",
            max_length=ws_named.MAX_FILE_BYTES,
            form="UTF-8 text of at most 1 MiB",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchApplyRequest:
    """Ask for a patch to be applied."""

    workspace_id: str = field(metadata=ws_named.HANDLE)
    patch: str = field(
        metadata=about(
            "A unified diff as git writes it; several files, a/ and b/ or none. Paths are relative to /workspace.",
            names="PATCH",
            from_file="--patch-file",
            max_length=ws_named.MAX_FILE_BYTES,
            form="a unified diff of at most 1 MiB",
        )
    )


@dataclass(frozen=True, slots=True)
class SyncPushResult(Result):
    """What was pushed."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    source_path: str = field(metadata=said("The directory or archive of this host."))
    mode: str = field(metadata=said("What that is: directory, tar_archive."))
    destination: str = field(metadata=said("The directory of the workspace that it went into."))
    entry_count: int = field(metadata=said("How many files, directories and links went in."))
    bytes_written: int = field(metadata=said("How much content went in."))
    skipped_count: int = field(metadata=said("How many entries were left out."))
    skipped: tuple[NoteResult, ...] = field(metadata=ws_named.SKIPPED)
    changed_count: int = field(metadata=said("How many files changed while they were read."))
    changed: tuple[NoteResult, ...] = field(metadata=ws_named.CHANGED)


@dataclass(frozen=True, slots=True)
class FileResult(Result):
    """One file, directory or link."""

    path: str = field(metadata=said("Its full path in the guest.", guest=True))
    kind: str = field(metadata=said("What it is: file, directory, symlink, other."))
    size_bytes: int = field(metadata=ws_named.FILE_SIZE)
    mode: str = field(metadata=ws_named.FILE_MODE)
    modified_at: str = field(metadata=said("When it was last changed (UTC, by the guest's clock)."))
    link_target: str | None = field(metadata=said("What a symbolic link leads to.", guest=True))


@dataclass(frozen=True, slots=True)
class FileListResult(Result):
    """What stands at a path, and below it if asked for."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    recursive: bool = field(metadata=said("Whether what is below was listed as well."))
    count: int = field(metadata=said("How many entries follow."))
    truncated: bool = field(metadata=said("Whether there are more than could be listed."))
    entries: tuple[FileResult, ...] = field(
        metadata=said(
            "The entries, sorted by path.",
            most=200,
            rest="workspace_file_list with the path of a directory lists less.",
        )
    )


@dataclass(frozen=True, slots=True)
class FileReadResult(Result):
    """A text file, or the beginning of it."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    size_bytes: int = field(metadata=ws_named.FILE_SIZE)
    max_bytes: int = field(metadata=said("How much was to be read at most."))
    offset: int = field(metadata=said("Where in the file the content begins."))
    mode: str = field(metadata=ws_named.FILE_MODE)
    content: str = field(metadata=said("The content.", guest=True, most=20_000, rest=_READ_ON))
    truncated: bool = field(metadata=said("Whether the file has more than this content."))


@dataclass(frozen=True, slots=True)
class FileWriteResult(Result):
    """A file that was written."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    path: str = field(metadata=ws_named.FULL_PATH)
    size_bytes: int = field(metadata=ws_named.FILE_SIZE)
    bytes_written: int = field(metadata=said("How much was written."))
    created: bool = field(metadata=said("Whether it was not there before."))
    mode: str = field(metadata=ws_named.FILE_MODE)


@dataclass(frozen=True, slots=True)
class PatchedFile(Result):
    """What a patch did with one file."""

    path: str = field(metadata=said("Its path below /workspace.", guest=True))
    action: str = field(metadata=said("What was done: create, modify, delete, rename, copy."))
    source: str | None = field(metadata=said("Where a renamed or copied file came from.", guest=True))
    added_lines: int = field(metadata=said("How many lines were added."))
    removed_lines: int = field(metadata=said("How many lines were removed."))


@dataclass(frozen=True, slots=True)
class PatchCounts(Result):
    """How many files a patch changed, by what it did with them."""

    total: int = field(metadata=said("All files."))
    added: int = field(metadata=said("Created or copied."))
    modified: int = field(metadata=said("Modified."))
    deleted: int = field(metadata=said("Deleted."))
    renamed: int = field(metadata=said("Renamed."))


@dataclass(frozen=True, slots=True)
class PatchApplyResult(Result):
    """A patch that was applied, all of it."""

    workspace_id: str = field(metadata=ws_named.WORKSPACE_ID)
    changed: bool = field(metadata=said("Always true: what changes nothing is an error."))
    summary: PatchCounts = field(metadata=said("How many files it changed."))
    entries: tuple[PatchedFile, ...] = field(metadata=said("The files, in the patch's order.", most=200))
    notes: tuple[str, ...] = field(
        metadata=said("Where the patch was not taken by its letter, such as wrong line numbers.", guest=True, most=50)
    )
