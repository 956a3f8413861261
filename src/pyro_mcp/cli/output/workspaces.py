"""Output of the commands on workspaces.

Content (files, command output, patches) goes to stdout, unchanged in a file or pipe; remarks go to stderr, on separate
lines. Content never controls the terminal.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.cli.output.status_lines import show_status_line
from pyro_mcp.cli.output.tables import age, facts, size, table
from pyro_mcp.cli.streams import STDOUT, put, put_alone, say, styled, write
from pyro_mcp.operations.printable import printable, printable_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyro_mcp.operations.operation import Result
    from pyro_mcp.operations.workspaces.commands import LoggedCommand, WorkspaceLogsResult
    from pyro_mcp.operations.workspaces.disks import DiskExportResult, DiskListResult, DiskReadResult
    from pyro_mcp.operations.workspaces.files import (
        FileListResult,
        FileReadResult,
        FileWriteResult,
        PatchApplyResult,
        SyncPushResult,
    )
    from pyro_mcp.operations.workspaces.lifecycle import (
        NoteResult,
        SeedResult,
        WorkspaceDeleteResult,
        WorkspaceListResult,
        WorkspaceResult,
    )
    from pyro_mcp.operations.workspaces.review import (
        DiffFileResult,
        DiffResult,
        ExportResult,
        HostHookResult,
        IgnoredResult,
        SummaryResult,
    )
    from pyro_mcp.operations.workspaces.snapshots import SnapshotDeleteResult, SnapshotListResult, SnapshotResult

_KINDS = {"file": "-", "directory": "d", "symlink": "l"}
_PATCH_COLOURS = (("+++", "1"), ("---", "1"), ("diff ", "1"), ("@@", "36"), ("+", "32"), ("-", "31"))
# For the list of files that a patch can't contain.
_SHOWN_FILES = 50
_SHOWN_CHANGES = 1000


def show_workspace_result(name: str, result: Result) -> None:
    """Write a result to stdout, and remarks on it to stderr."""
    if name.startswith("shell_"):
        from pyro_mcp.cli.output.shells import SHOWING

        SHOWING[name](result)
    elif name.startswith("workspace_network_"):
        from pyro_mcp.cli.output.network import SHOWING

        SHOWING[name](result)
    elif name.startswith("service_"):
        from pyro_mcp.cli.output.services import SHOWING

        SHOWING[name](result)
    else:
        _SHOWING.get(name, _fields)(result)
    show_status_line(name, result)


def _fields(result: Result) -> None:
    put(facts(result))


def _workspace(result: WorkspaceResult) -> None:
    document: dict[str, object] = dict(result)
    seed = cast("dict[str, object]", document.pop("workspace_seed"))
    labels = ", ".join(f"{key}={value}" for key, value in result.labels.items())
    shape = f"{document.pop('vcpu_count')} CPU, {document.pop('mem_mib')} MiB"
    for dull in ("service_count", "running_service_count", "reset_count", "command_count"):
        if not document[dull]:
            del document[dull]
    begun = "empty"
    if result.workspace_seed.seed_path is not None:
        begun = f"{seed['seed_path']} ({_entries(result.workspace_seed.entry_count)}, {size(seed['bytes_written'])})"
    secrets = ", ".join(
        f"{each.name} ({each.source_kind}{'' if each.redacted else ', not redacted'})" for each in result.secrets
    )
    hosts = {name: ", ".join(result[name]) for name in ("allow_hosts", "deny_hosts")}
    listed = {**hosts, "labels": labels, "secrets": secrets, "ca_certificates": ", ".join(result.ca_certificates)}
    put(facts({**document, **listed, "shape": shape, "seed": begun}))
    _seed_notes(result.workspace_seed)


def _seed_notes(seed: SeedResult) -> None:
    _notes("skipped in the seed", seed.skipped_count, seed.skipped)
    _notes("changed while it was read", seed.changed_count, seed.changed)
    if seed.ignored_count:
        files = "1 ignored file" if seed.ignored_count == 1 else f"{seed.ignored_count} ignored files"
        largest = "; ".join(f"{each.name}, {each.reason}" for each in seed.largest_ignored[:1])
        say(f"{files} left out ({size(seed.ignored_bytes)}; largest: {printable_line(largest)})")
    for note in seed.notes:
        say(printable_line(note))


def _done(verb: str) -> Callable[[WorkspaceResult], None]:
    """Return a function that reports the change of a workspace on one line."""

    def show(result: WorkspaceResult) -> None:
        name = f" ({printable_line(result.name)})" if result.name else ""
        put(f"{verb} {result.workspace_id}{name}")

    return show


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _notes(what: str, count: int, notes: list[NoteResult]) -> None:
    if count:
        say(f"{count} {what}:")
        for note in notes:
            say(f"  {printable_line(note.name)}: {printable_line(note.reason)}")
        if count > len(notes):
            say(f"  … and {count - len(notes)} others")


def _list(result: WorkspaceListResult) -> None:
    if not result.workspaces:
        put("no workspaces")
        return
    rows = [
        (
            each.workspace_id,
            each.name,
            each.state,
            f"{age(each.last_activity_at)} ago",
            each.environment,
            " ".join(f"{key}={value}" for key, value in each.labels.items()),
            each.isolation,
            each.command_count,
        )
        for each in result.workspaces
    ]
    heads = ("WORKSPACE", "NAME", "STATE", "ACTIVE", "ENVIRONMENT", "LABELS", "ISOLATION", "COMMANDS")
    put(table(heads, rows))


def _deleted(result: WorkspaceDeleteResult) -> None:
    put(f"deleted {result.workspace_id}")


def _logs(result: WorkspaceLogsResult) -> None:
    if not result.entries:
        say("no commands were run")
    show_commands(result.workspace_id, result.entries, names_the_rest=len(result.entries) > 1)


def show_commands(workspace_id: str, commands: Sequence[LoggedCommand], *, names_the_rest: bool = True) -> None:
    """Write commands and what they wrote."""
    for command in commands:
        put(styled(command_line(command), "1", STDOUT))
        for stream, truncated in (
            (command.stdout, command.stdout_truncated),
            (command.stderr, command.stderr_truncated),
        ):
            _put_text(stream)
            if truncated and names_the_rest:
                say(f"… truncated; show all of it: pyro workspace logs {workspace_id} --sequence {command.sequence}")


def command_line(command: LoggedCommand) -> str:
    """Return the line that names a command and how it ended."""
    if command.timed_out:
        outcome = "timed out"
    elif command.exit_code is None:
        outcome = command.error or "still running"
    else:
        outcome = f"exit {command.exit_code}"
    took = f", {command.duration_ms} ms" if command.exit_code is not None else ""
    return printable_line(f"#{command.sequence} {command.started_at} [{outcome}{took}] {command.command}")


def _pushed(result: SyncPushResult) -> None:
    done = result.workspace_sync
    amount = f"{_entries(done.entry_count)}, {size(done.bytes_written)}"
    put(f"pushed {printable_line(done.source_path)} ({amount}) to {printable_line(done.destination)}")
    _notes("left out", done.skipped_count, done.skipped)
    _notes("changed while it was read", done.changed_count, done.changed)


def _files(result: FileListResult | DiskListResult) -> None:
    width = max((len(str(each.size_bytes)) for each in result.entries), default=0)
    lines: list[str] = []
    for each in result.entries:
        target = f" -> {printable_line(each.link_target)}" if each.link_target is not None else ""
        kind = _KINDS.get(each.artifact_type, "?")
        lines.append(
            f"{kind}{each.mode} {each.size_bytes:>{width}} {each.modified_at[:19]} {printable_line(each.path)}{target}"
        )
    put("\n".join(lines))
    if result.truncated:
        say(f"[list] path={printable_line(result.path)} only the first {result.count} entries are listed")


def _content(result: FileReadResult | DiskReadResult) -> None:
    _put_text(result.content)


def _put_text(text: str) -> None:
    """Write content, ending with a newline, so that further output begins on its own line."""
    if text:
        put_alone(text, ends_line=not text.endswith("\n"))


def _written(result: FileWriteResult) -> None:
    put(f"{'created' if result.created else 'wrote'} {printable_line(result.path)} ({result.bytes_written} bytes)")


def _patched(result: PatchApplyResult) -> None:
    for each in result.entries:
        source = f" from {printable_line(each.source)}" if each.source else ""
        put(f"{each.status} {printable_line(each.path)}{source} +{each.added_lines} -{each.removed_lines}")
    for note in result.notes:
        say(f"note: {printable_line(note)}")


def _diff(result: DiffResult) -> None:
    # Changes of the baseline's files are reported first.
    named = {each.name for each in result.host_hooks}
    missing = [each for each in result.entries if not each.patched and each.path not in named]
    _missing([each for each in missing if each.status != "added"], _SHOWN_CHANGES)
    _host_hooks(result.host_hooks, result.host_hook_count)
    _hidden_by_changed_rules(result.ignored, result.changed_rule_count)
    if os.isatty(STDOUT):
        put("\n".join(_coloured(line) for line in printable(result.patch).split("\n")))
    else:
        write(STDOUT, result.patch_bytes)
    _missing([each for each in missing if each.status == "added"], _SHOWN_FILES)
    if result.patch_prefix and result.patch:
        say(f"note: paths in the patch begin with {printable_line(result.patch_prefix)}, as git apply expects there")
    if not result.changed:
        say("No workspace changes.")
    if result.ignored_count:
        say(f"{result.ignored_count} ignored left out (--include-ignored shows them)")


def _diff_stat(result: DiffResult) -> None:
    for each in result.entries:
        lines = f"+{each.added_lines} -{each.removed_lines}" if each.patched else each.reason
        put(printable_line(f"{each.status:<8} {each.path}  {lines}"))
    added, removed = (sum(getattr(each, name) for each in result.entries) for name in ("added_lines", "removed_lines"))
    put(f"{result.summary.total} changed, +{added} -{removed}")
    _say_if_cut(result)


def _diff_names(result: DiffResult) -> None:
    put("\n".join(printable_line(each.path) for each in result.entries))
    _say_if_cut(result)


def _say_if_cut(result: DiffResult) -> None:
    if result.truncated:
        say(f"[diff] only the first {len(result.entries)} of {result.summary.total} changed files are listed")


DIFF_FORMATS: dict[str, Callable[[Any], None]] = {"stat": _diff_stat, "name-only": _diff_names}


def _missing(files: list[DiffFileResult], most: int) -> None:
    for each in files[:most]:
        path = printable_line(each.path)
        way = ": --binary includes it" if each.reason == "binary" else ""
        way = f": --path {path} includes it" if "this patch" in each.reason else way
        say(f"not in the patch: {each.status} {path} ({each.reason}{way})")
    if len(files) > most:
        say(f"not in the patch: … and {len(files) - most} others")


def _hidden_by_changed_rules(names: list[IgnoredResult], count: int) -> None:
    shown = [each for each in names if each.by_changed_rule][:_SHOWN_FILES]
    for each in shown:
        path = printable_line(each.path)
        say(f"left out: {path} (only a changed .gitignore rule hides it: --path {path} shows it)")
    if count > len(shown):
        say(f"left out: … and {count - len(shown)} others that only changed rules hide")


def _coloured(line: str) -> str:
    for beginning, code in _PATCH_COLOURS:
        if line.startswith(beginning):
            return styled(line, code, STDOUT)
    return line


def _summary(result: SummaryResult) -> None:
    put(printable(result.page))


def _exported(result: ExportResult) -> None:
    amount = f"{_entries(result.entry_count)}, {size(result.bytes_written)}"
    put(f"exported {printable_line(result.workspace_path)} ({amount}) to {printable_line(result.output_path)}")
    _host_hooks(result.host_hooks, result.host_hook_count)
    _hidden_by_changed_rules(result.ignored, result.changed_rule_count)
    if result.ignored_count:
        say(f"{result.ignored_count} ignored left out (--include-ignored includes them)")
    _notes("left out", result.left_out_count, result.left_out)


def _host_hooks(hooks: list[HostHookResult], count: int) -> None:
    for hook in hooks:
        name = printable_line(hook.name)
        if hook.is_instruction:
            say(f"note: {name} is included: agents follow what it says")
        elif hook.kept:
            say(f"note: {name} is included: {hook.tool} runs it automatically")
        else:
            say(f"skipped: {name}: {hook.tool} would run it automatically (--include-host-hooks includes it)")
    if count > len(hooks):
        say(f"… and {count - len(hooks)} more files like these")


def _snapshot(result: SnapshotResult) -> None:
    taken = result.snapshot
    root = "" if taken.root_size_bytes is None else f", {size(taken.root_size_bytes)} of it the root"
    put(f"snapshot {taken.snapshot_name} of {result.workspace_id} taken ({size(taken.size_bytes)}{root})")


def _snapshots(result: SnapshotListResult) -> None:
    rows = [
        (
            each.snapshot_name,
            each.created_at,
            size(each.size_bytes),
            None if each.root_size_bytes is None else size(each.root_size_bytes),
        )
        for each in result.snapshots
    ]
    put(table(("SNAPSHOT", "TAKEN", "SIZE", "ROOT"), rows))


def _snapshot_deleted(result: SnapshotDeleteResult) -> None:
    put(f"deleted snapshot {printable_line(result.snapshot_name)} of {result.workspace_id}")


def _disk_exported(result: DiskExportResult) -> None:
    amount = f"{size(result.used_bytes)} in use of {size(result.bytes_written)}"
    put(f"wrote {printable_line(result.output_path)} ({result.disk_format}, {amount})")


_SHOWING: dict[str, Callable[[Any], None]] = {
    "workspace_create": _workspace,
    "workspace_list": _list,
    "workspace_update": _done("updated"),
    "workspace_status": _workspace,
    "workspace_stop": _done("stopped"),
    "workspace_start": _done("started"),
    "workspace_delete": _deleted,
    "workspace_logs": _logs,
    "workspace_sync_push": _pushed,
    "workspace_file_list": _files,
    "workspace_file_read": _content,
    "workspace_file_write": _written,
    "workspace_patch_apply": _patched,
    "workspace_diff": _diff,
    "workspace_summary": _summary,
    "workspace_export": _exported,
    "snapshot_create": _snapshot,
    "snapshot_list": _snapshots,
    "snapshot_delete": _snapshot_deleted,
    "workspace_reset": _done("reset"),
    "workspace_disk_export": _disk_exported,
    "workspace_disk_list": _files,
    "workspace_disk_read": _content,
}
