"""Reviewing a workspace: diff, summary, export."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import field
from typing import TYPE_CHECKING

from pyro_mcp.model.service import ServiceState
from pyro_mcp.model.workspace import ReviewKind
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, about, asked, said
from pyro_mcp.operations.operation import Call, Effect, Operation, Result, engine, result_of, utc_text
from pyro_mcp.operations.parameters import ONE_FILE, OUTPUT_PATH, WRITTEN_TO, NoteResult, WorkspaceRequest
from pyro_mcp.operations.workspaces.files import mode_text
from pyro_mcp.operations.workspaces.lifecycle import SeedResult
from pyro_mcp.operations.workspaces.snapshots import SnapshotFacts, snapshot_facts
from pyro_mcp.protocol.names import WORKSPACE

if TYPE_CHECKING:
    from pyro_mcp.workspace.files.left_out import LeftOut
    from pyro_mcp.workspace.review.changes import FileChange
    from pyro_mcp.workspace.review.review import Review


_MOST_NAMED = 100
_EDITS = {ReviewKind.PATCH, ReviewKind.SYNC, ReviewKind.FILE_WRITE}
INCLUDE_HOST_HOOKS = about(
    ("Include files that a tool of this host would run automatically (git hooks, editor and agent settings)."),
    on="cli sdk",
)


INCLUDE_IGNORED = about("Include .git and what a .gitignore of the workspace ignores.")


class DiffRequest(Request):
    """Ask for the differences between a workspace and its baseline."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    path: str = field(
        default=WORKSPACE,
        metadata=parameters.path("Limit the diff to this path, even if it is ignored or large.", place=Place.OPTION),
    )
    include_ignored: bool = field(default=False, metadata=INCLUDE_IGNORED)
    binary: bool = asked("Include changes of binary files, as git binary patches.", default=False)
    include_host_hooks: bool = field(default=False, metadata=INCLUDE_HOST_HOOKS)


class SummaryRequest(WorkspaceRequest):
    """Ask for the summary of a workspace."""

    include_ignored: bool = field(default=False, metadata=INCLUDE_IGNORED)


class ExportRequest(Request):
    """Ask for a file or directory of a workspace to be exported."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    path: str = field(metadata=parameters.path("A file or directory under /workspace."))
    output_path: str = field(metadata=OUTPUT_PATH)
    include_ignored: bool = field(default=False, metadata=INCLUDE_IGNORED)
    include_host_hooks: bool = field(default=False, metadata=INCLUDE_HOST_HOOKS)


class DiffCounts(Result):
    """How many files differ."""

    total: int = said("All files that differ.")
    added: int = said("New files.")
    modified: int = said("Files with changed content or permissions.")
    deleted: int = said("Deleted files.")
    type_changed: int = said("Files whose kind changed, such as a link instead of a file.")
    text_patched: int = said("Number of files in the patch.")
    held_back: int = said("Number of files omitted from it because a tool of the host would run them.")
    non_text: int = said("Number of files that are not in the patch: binary files, directories, and so on.")


class DiffFileResult(Result):
    """One file that differs. Fields that do not apply are null: the old side of a new file, for example."""

    path: str = said("Its path below /workspace.", guest=True)
    status: str = said("Its status: added, modified, deleted, type_changed.")
    artifact_type: str = said("Its kind now, or before if it was deleted: file, directory, symlink, other.")
    text_patch: str | None = said("Its part of the patch; null if it has none, and in MCP.", guest=True)
    patched: bool = said("Whether the patch contains the change.")
    reason: str = said("Why it does not.")
    ignored: bool = said("Whether a .gitignore ignores it.")
    moved_from: str | None = said("Where it was before, if its content is the same.", guest=True)
    added_lines: int = said("Number of lines added.")
    removed_lines: int = said("Number of lines removed.")
    old_kind: str | None = said("Its old kind: file, directory, symlink, other.")
    new_kind: str | None = said("Its new kind.")
    old_mode: str | None = said("Its old permission bits.")
    new_mode: str | None = said("Its new permission bits.")
    old_size_bytes: int | None = said("Its old size.")
    new_size_bytes: int | None = said("Its new size.")
    old_target: str | None = said("The old target of a symbolic link.", guest=True)
    new_target: str | None = said("The new target of a symbolic link.", guest=True)


class HostHookResult(Result):
    """A file that a tool of the host would run automatically."""

    name: str = said("Its path in the patch or the export.", guest=True)
    tool: str = said("The tool that would run it.")
    kept: bool = said("Whether it is included: it was in the baseline, or it was asked for.")
    is_instruction: bool = said(
        "Whether it is text that agents follow, such as AGENTS.md: always included, and worth reading."
    )


class MissingResult(Result):
    """A changed file of the baseline that the patch does not contain."""

    path: str = said("Its path below /workspace.", guest=True)
    status: str = said("Its status: modified, deleted, type_changed.")
    reason: str = said("Why the patch does not contain it.")


class IgnoredResult(Result):
    """A file or directory that was left out because it is ignored."""

    path: str = said("Its path below /workspace; a directory ends with a slash.", guest=True)
    by_changed_rule: bool = said("Whether only the workspace, or only its baseline, has a rule that ignores it.")


class DiffResult(Result):
    """The differences between a workspace and its baseline."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    missing_count: int = said("Number of changed files of the baseline that the patch does not contain.")
    missing: list[MissingResult] = said("The first hundred of them.", guest=True, rest=ONE_FILE)
    changed: bool = said("Whether anything differs.")
    ignored_count: int = said("Number of ignored files and directories left out; a directory counts as one.")
    changed_rule_count: int = said("How many of them only a changed .gitignore rule hides.")
    ignored: list[IgnoredResult] = said(
        "The first hundred of them; those that only a changed rule hides come first.", guest=True, most=30
    )
    host_hook_count: int = said("Number of changed files that a tool of this host would run automatically.")
    host_hooks: list[HostHookResult] = said(
        "The first hundred of them; those omitted from the patch come first.", guest=True, most=30
    )
    summary: DiffCounts = said("Counts of changed files.")
    entries: list[DiffFileResult] = said("The files, sorted by path.", most=100, rest=ONE_FILE)
    truncated: bool = said("Whether more files differ than were listed; total counts them all.")
    patch_prefix: str = said("Where the seed is in its git checkout: what paths in the patch begin with.")
    patch: str = said(
        "The changes as one patch that git apply accepts in the tree that the workspace was seeded from."
        " Bytes that are not UTF-8 are replaced by U+FFFD.",
        guest=True,
        most=20_000,
        rest=ONE_FILE,
    )
    patch_base64: str | None = said("The patch in base64 if it is not UTF-8, which patch can't hold. Null in MCP.")

    @property
    def patch_bytes(self) -> bytes:
        """Return the patch as bytes, for git apply."""
        return self.patch.encode() if self.patch_base64 is None else b64decode(self.patch_base64)


class ExportResult(Result):
    """The result of an export."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    workspace_path: str = said(parameters.FULL_PATH)
    output_path: str = said(WRITTEN_TO)
    artifact_type: str = said("file, directory.")
    entry_count: int = said("Number of files, directories and links exported.")
    bytes_written: int = said("Bytes of content exported.")
    left_out_count: int = said("Number of entries skipped: devices, links that lead outside.")
    left_out: list[NoteResult] = said("The first hundred of them.", guest=True, most=30)
    ignored_count: int = said("Number of ignored files and directories left out; a directory counts as one.")
    changed_rule_count: int = said("How many of them only a changed .gitignore rule hides.")
    ignored: list[IgnoredResult] = said(
        "The first hundred of them; those that only a changed rule hides come first.", guest=True, most=30
    )
    host_hook_count: int = said("Number of files that a tool of this host would run automatically.")
    host_hooks: list[HostHookResult] = said("The first hundred of them.", guest=True, most=30)


class SummaryCommand(Result):
    """One command and its outcome."""

    sequence: int = said("Its number in the workspace's history.")
    command: str = said("The command, on one line.")
    outcome: str = said("Its outcome, in words.", guest=True)
    exit_code: int | None = said("Its exit status; null if it has none.")
    timed_out: bool = said("Whether it was killed because it timed out.")
    duration_ms: int = said("Duration of the run.")


class SummaryFile(Result):
    """One file that differs from the baseline."""

    path: str = said("Its path below /workspace.", guest=True)
    status: str = said("Its status: added, modified, deleted, type_changed.")
    added_lines: int = said("Number of lines added.")
    removed_lines: int = said("Number of lines removed.")
    reason: str = said("Why the diff's patch does not contain it, if so.")


class SummaryEvent(Result):
    """One event other than a command."""

    at: str = said("When (UTC).")
    kind: str = said("Its kind: patch, sync, snapshot, export, reset, file_write, start, stop.")
    text: str = said("The event, in words.", guest=True)


class SummaryCommands(Result):
    """The commands that were run."""

    count: int = said("Number of commands run.")
    failed_count: int = said("Number of commands with a non-zero exit status.")
    timed_out_count: int = said("Number of commands that timed out.")
    entries: list[SummaryCommand] = said("The last commands, and earlier ones that failed.")


class SummaryChanges(Result):
    """The differences from the baseline."""

    available: bool = said("Whether the workspace could be compared with its baseline.")
    reason: str = said("Why it could not.", guest=True)
    summary: DiffCounts | None = said("Counts of files changed.")
    added_lines: int = said("Total number of lines added.")
    removed_lines: int = said("Total number of lines removed.")
    entries: list[SummaryFile] = said("The first of the files that differ.")
    ignored_count: int = said("Number of ignored files and directories left out; a directory counts as one.")


class SummaryServices(Result):
    """The services."""

    count: int = said("Number of services.")
    running_count: int = said("Number of services that are running.")


class SummaryArtifacts(Result):
    """The files that left the workspace."""

    exports: list[SummaryEvent] = said("The last exports.")


class SummarySnapshots(Result):
    """The snapshots."""

    named_count: int = said("Number of snapshots without the baseline.")
    entries: list[SnapshotFacts] = said("The snapshots.", most=50)


class SummaryOutcome(Result):
    """The workspace as it is now."""

    state: str = said("Its state: started, stopped, failed, or in between.")
    execution_mode: str = said(parameters.EXECUTION_MODE)
    isolation: str | None = said(parameters.ISOLATION)


class SummaryResult(Result):
    """The activity in a workspace since it was created or last reset. The lists hold what fits on a page."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    name: str | None = said("Its name.")
    environment: str = said("The environment it was created from.")
    since: str = said("When it was created or last reset (UTC).")
    reset_count: int = said("Number of resets.")
    workspace_seed: SeedResult = said("Its seed.")
    commands: SummaryCommands = said("The commands.")
    edits: list[SummaryEvent] = said("The last patches, pushes and files written.")
    changes: SummaryChanges = said("The differences from the baseline.")
    services: SummaryServices = said("The services.")
    artifacts: SummaryArtifacts = said("The exports.")
    snapshots: SummarySnapshots = said("The snapshots.")
    event_count: int = said("Number of events other than commands.")
    events: list[SummaryEvent] = said("The last of them.")
    outcome: SummaryOutcome = said("The workspace as it is now.")
    page: str = said("The summary as one page for a chat message or a pull request comment.", guest=True)


def _diff(request: DiffRequest, call: Call) -> DiffResult:
    from pyro_mcp.workspace.review.diff import diff_workspace

    with engine(call) as using:
        found = diff_workspace(
            using,
            request.workspace_id,
            path=request.path,
            include_ignored=request.include_ignored,
            binary=request.binary,
            include_host_hooks=request.include_host_hooks,
            cancel=call.cancel,
        )
    changes = found.changes
    text = changes.patch.decode("utf-8", "replace")
    # A model gets a shortened, printable text, which can't be applied.
    is_exact = call.host_access is not None or text.encode() == changes.patch
    return result_of(
        DiffResult,
        changes,
        workspace_id=found.workspace.id,
        **_left_out(changes.left_out),
        missing_count=len(changes.missing),
        missing=[result_of(MissingResult, each, status=each.change) for each in changes.missing[:_MOST_NAMED]],
        patch=text,
        patch_base64=None if is_exact else b64encode(changes.patch).decode(),
        summary=changes.counts,
        entries=[_file(each, with_patch=call.host_access is None) for each in changes.entries],
    )


def _left_out(found: LeftOut) -> dict[str, object]:
    return {name: getattr(found, name) for name in ("ignored", "ignored_count", "changed_rule_count")}


def _file(change: FileChange, *, with_patch: bool) -> DiffFileResult:
    old, new = change.old, change.new
    present = new or old
    return result_of(
        DiffFileResult,
        change,
        status=change.change,
        artifact_type=present.kind if present else "other",
        text_patch=change.section.decode("utf-8", "replace") if with_patch and change.section else None,
        patched=change.is_patched,
        old_kind=old.kind if old else None,
        new_kind=new.kind if new else None,
        old_mode=mode_text(old.mode) if old else None,
        new_mode=mode_text(new.mode) if new else None,
        old_size_bytes=old.size_bytes if old else None,
        new_size_bytes=new.size_bytes if new else None,
        old_target=old.target if old else None,
        new_target=new.target if new else None,
    )


def _summary(request: SummaryRequest, call: Call) -> SummaryResult:
    from pyro_mcp.workspace.review.summary import summarize_workspace

    with engine(call) as using:
        return _summary_result(
            summarize_workspace(
                using, request.workspace_id, include_ignored=request.include_ignored, cancel=call.cancel
            )
        )


def _summary_result(review: Review) -> SummaryResult:
    from pyro_mcp.workspace.review.page import page

    workspace, changes = review.workspace, review.changes
    events = [SummaryEvent(utc_text(each.at), each.kind.value, each.text) for each in review.events]
    commands = [result_of(SummaryCommand, each, sequence=each.seq) for each in review.commands]
    snapshots = [snapshot_facts(workspace.id, each) for each in review.snapshots]
    running = sum(each.state is ServiceState.RUNNING for each in review.services)
    return result_of(
        SummaryResult,
        review,
        workspace_id=workspace.id,
        name=workspace.name,
        environment=workspace.environment,
        since=utc_text(workspace.created_at if workspace.last_reset_at is None else workspace.last_reset_at),
        reset_count=workspace.reset_count,
        workspace_seed=workspace.seed,
        commands=result_of(SummaryCommands, review, count=review.command_count, entries=commands),
        edits=[each for each in events if each.kind in _EDITS],
        changes=result_of(
            SummaryChanges,
            review,
            available=changes is not None,
            reason=review.no_changes_reason,
            summary=None if changes is None else changes.counts,
            entries=[result_of(SummaryFile, each, status=each.change) for each in review.files],
            ignored_count=0 if changes is None else changes.left_out.ignored_count,
        ),
        services=SummaryServices(len(review.services), running),
        artifacts=SummaryArtifacts([each for each in events if each.kind == ReviewKind.EXPORT]),
        snapshots=SummarySnapshots(sum(each.deletable for each in snapshots), snapshots),
        events=events,
        outcome=result_of(SummaryOutcome, workspace, execution_mode=workspace.execution_mode or "pending"),
        page=page(review),
    )


def _export(request: ExportRequest, call: Call) -> ExportResult:
    from pathlib import Path

    from pyro_mcp.workspace.files.export import export_workspace

    with engine(call) as using:
        done = export_workspace(
            using,
            request.workspace_id,
            request.path,
            Path(request.output_path),
            include_ignored=request.include_ignored,
            include_host_hooks=request.include_host_hooks,
            is_strict=call.host_access is not None,
            cancel=call.cancel,
        )
    report = done.report
    return result_of(
        ExportResult,
        report,
        workspace_id=done.workspace_id,
        workspace_path=done.path,
        artifact_type=report.kind,
        **_left_out(done.left_out),
    )


WORKSPACE_DIFF = Operation(
    name="workspace_diff",
    title="Show changes in a workspace",
    description=(
        "Compare /workspace with its baseline (its content at creation): counts, one entry per changed"
        " file, and one patch that `git apply` accepts in the tree that the workspace was seeded from."
        " Added files that a .gitignore ignores are left out"
        " and counted, and so is .git. What the patch does not contain (binary files, empty directories,"
        " permissions) is listed with the reason. Files that a tool of this host would run automatically (git"
        " hooks, .envrc, editor and agent settings) are listed first, and omitted from the patch if they"
        " were not in the baseline."
    ),
    tool_description=" The middle of a long patch is omitted: path=… shows one file or directory, even an ignored one.",
    handler=_diff,
    effect=Effect.READ,
    cli=("workspace", "diff"),
    sdk="diff_workspace",
)
WORKSPACE_SUMMARY = Operation(
    name="workspace_summary",
    title="Summarise a workspace for review",
    description=(
        "Summarise on one page what happened in a workspace since it was created or last reset: commands"
        " and their outcomes, changed files, patches, pushes, exports, snapshots and the final state."
    ),
    handler=_summary,
    effect=Effect.READ,
    cli=("workspace", "summary"),
    sdk="summarize_workspace",
)
WORKSPACE_EXPORT = Operation(
    name="workspace_export",
    title="Export from a workspace to this host",
    description=(
        "Copy a file or directory out of a workspace to a new path on this host. Nothing is overwritten, no"
        " link is followed, nothing is written elsewhere. Added files that a .gitignore ignores are left out and"
        " counted, and so is .git, unless the path itself is ignored. Files that a tool of this host would run"
        " automatically (git hooks and settings, .envrc, editor and agent settings) are listed, and skipped"
        " if they were not in the baseline."
    ),
    handler=_export,
    effect=Effect.WRITE,
    cli=("workspace", "export"),
    sdk="export_workspace",
)
ROWS = (WORKSPACE_DIFF, WORKSPACE_SUMMARY, WORKSPACE_EXPORT)
