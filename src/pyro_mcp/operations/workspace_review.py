"""Reviewing a workspace: diff, summary, export.

Owns the rows of this family, and the handlers' way from requests to verbs and back. Refuses to compose anything: what
is shown is made by the verbs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.model.service import ServiceState
from pyro_mcp.operations.operation import Call, Effect, Operation, engine
from pyro_mcp.operations.timestamps import utc_text
from pyro_mcp.operations.workspace_files import mode_text
from pyro_mcp.operations.workspaces import seed_result
from pyro_mcp.operations.ws_review_values import (
    DiffCounts,
    DiffFileResult,
    DiffRequest,
    DiffResult,
    ExportRequest,
    ExportResult,
    HostHookResult,
    SnapshotFacts,
)
from pyro_mcp.operations.ws_summary_values import (
    SummaryCommand,
    SummaryEvent,
    SummaryFile,
    SummaryRequest,
    SummaryResult,
)
from pyro_mcp.operations.ws_values import NoteResult

if TYPE_CHECKING:
    from pyro_mcp.workspace.review.account import Account
    from pyro_mcp.workspace.review.changes import ChangeCounts, FileChange


def _diff(request: DiffRequest, call: Call) -> DiffResult:
    from pyro_mcp.workspace.ws_diff import diff_workspace

    with engine(call) as using:
        found = diff_workspace(using, request.workspace_id, path=request.path, cancel=call.cancel)
    changes = found.changes
    return DiffResult(
        workspace_id=found.workspace.id,
        changed=changes.changed,
        summary=_counts(changes.counts),
        entries=tuple(_file(each) for each in changes.entries),
        truncated=changes.truncated,
        patch=changes.patch,
    )


def _counts(counts: ChangeCounts) -> DiffCounts:
    return DiffCounts(
        total=counts.total,
        added=counts.added,
        modified=counts.modified,
        deleted=counts.deleted,
        type_changed=counts.type_changed,
        text_patched=counts.text_patched,
        non_text=counts.non_text,
    )


def _file(change: FileChange) -> DiffFileResult:
    old, new = change.old, change.new
    return DiffFileResult(
        path=change.path,
        status=change.change.value,
        patched=change.is_patched,
        reason=change.reason,
        added_lines=change.added_lines,
        removed_lines=change.removed_lines,
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
    from pyro_mcp.workspace.ws_summary import summarize_workspace

    with engine(call) as using:
        return _account(summarize_workspace(using, request.workspace_id, cancel=call.cancel))


def _account(account: Account) -> SummaryResult:
    from pyro_mcp.workspace.review.page import page

    workspace, changes = account.workspace, account.changes
    commands = tuple(
        SummaryCommand(each.seq, each.command, each.outcome, each.exit_code, each.timed_out, each.duration_ms)
        for each in account.commands
    )
    files = tuple(
        SummaryFile(each.path, each.change.value, each.added_lines, each.removed_lines, each.reason)
        for each in account.files
    )
    return SummaryResult(
        workspace_id=workspace.id,
        name=workspace.name,
        environment=workspace.environment,
        state=workspace.state.value,
        execution_mode=workspace.execution_mode.value if workspace.execution_mode else None,
        isolation=workspace.isolation.value if workspace.isolation else None,
        since=utc_text(workspace.created_at if workspace.last_reset_at is None else workspace.last_reset_at),
        reset_count=workspace.reset_count,
        workspace_seed=seed_result(workspace.seed),
        command_count=account.command_count,
        failed_count=account.failed_count,
        timed_out_count=account.timed_out_count,
        commands=commands,
        changes_known=changes is not None,
        changes_unknown_reason=account.no_changes_reason,
        changes=None if changes is None else _counts(changes.counts),
        added_lines=account.added_lines,
        removed_lines=account.removed_lines,
        files=files,
        event_count=account.event_count,
        events=tuple(SummaryEvent(utc_text(each.at), each.kind.value, each.text) for each in account.events),
        snapshots=tuple(
            SnapshotFacts(each.name, utc_text(each.created_at), each.size_bytes) for each in account.snapshots
        ),
        service_count=len(account.services),
        running_service_count=sum(each.state is ServiceState.RUNNING for each in account.services),
        page=page(account),
    )


def _export(request: ExportRequest, call: Call) -> ExportResult:
    from pathlib import Path

    from pyro_mcp.workspace.ws_export import export_workspace

    with engine(call) as using:
        done = export_workspace(
            using,
            request.workspace_id,
            request.path,
            Path(request.output_path),
            include_host_hooks=request.include_host_hooks,
            cancel=call.cancel,
        )
    report = done.report
    return ExportResult(
        workspace_id=done.workspace_id,
        path=done.path,
        output_path=report.output_path,
        kind=report.kind.value,
        entry_count=report.entry_count,
        bytes_written=report.bytes_written,
        left_out_count=report.left_out_count,
        left_out=tuple(NoteResult(*each) for each in report.left_out),
        host_hook_count=report.host_hook_count,
        host_hooks=tuple(HostHookResult(*each) for each in report.host_hooks),
    )


WORKSPACE_DIFF = Operation(
    name="workspace_diff",
    title="Show what changed in a workspace",
    summary="Compare a workspace with its baseline; print a patch.",
    description=(
        "Compare /workspace with the baseline, which is what it was created with: counts, one entry for each file that"
        " differs, and one patch that `git apply` takes on the tree that the workspace was seeded from. What a text"
        " patch can't bring (binary files, empty directories, other permissions) is in the entries, with the reason."
    ),
    tool_description=" Long patches are cut in the middle: path=… shows one file or directory.",
    request=DiffRequest,
    result=DiffResult,
    handler=_diff,
    effect=Effect.READ,
    cli=("workspace", "diff"),
    mcp="workspace_diff",
    sdk="diff_workspace",
)
WORKSPACE_SUMMARY = Operation(
    name="workspace_summary",
    title="Summarise a workspace for review",
    summary="Print one review page of what happened in a workspace.",
    description=(
        "Tell on one page what happened in a workspace since it was created or last reset: the commands and their"
        " outcomes, the files that changed, patches, pushes, exports, snapshots and the final state. Fit for a chat or"
        " a pull request's comment."
    ),
    request=SummaryRequest,
    result=SummaryResult,
    handler=_summary,
    effect=Effect.READ,
    cli=("workspace", "summary"),
    mcp="workspace_summary",
    sdk="summarize_workspace",
)
WORKSPACE_EXPORT = Operation(
    name="workspace_export",
    title="Export from a workspace to this host",
    summary="Copy a file or directory out of a workspace, to a new path.",
    description=(
        "Copy a file or directory of a workspace to a path of this host where nothing is yet. Nothing is overwritten,"
        " no link is followed, nothing is written elsewhere. Files that a tool of this host would run by itself (git"
        " hooks and settings, .envrc, editor and agent settings) are listed, and left out if they were not in the"
        " baseline."
    ),
    request=ExportRequest,
    result=ExportResult,
    handler=_export,
    effect=Effect.WRITE,
    cli=("workspace", "export"),
    mcp="workspace_export",
    sdk="export_workspace",
)

ROWS = (WORKSPACE_DIFF, WORKSPACE_SUMMARY, WORKSPACE_EXPORT)
