"""The events of a workspace since it was created or last reset, condensed for a reviewer.

The caller provides all facts. Text chosen by a guest or a model is made harmless to terminals and put on one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from pyro_mcp.model.kinds import DiffChange
from pyro_mcp.model.workspace import ReviewKind
from pyro_mcp.protocol.names import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.model.service import Service
    from pyro_mcp.model.workspace import CommandRecord, ReviewEvent, Snapshot, Workspace
    from pyro_mcp.workspace.review.changes import FileChange, TreeChanges

# A reviewer reads one page: these numbers fit on it.
MAX_COMMANDS, MAX_FILES, MAX_EVENTS = 20, 40, 20
MAX_TEXT_CHARS = 160


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One command and its outcome."""

    seq: int
    command: str
    outcome: str
    exit_code: int | None
    timed_out: bool
    duration_ms: int

    @property
    def failed(self) -> bool:
        """Return whether the command failed."""
        return self.timed_out or self.exit_code != 0


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event other than a command."""

    at: float
    kind: ReviewKind
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """The facts for a reviewer. The lists are cut to fit on a page; the counts include everything.

    `changes` is None if the workspace could not be compared with its baseline; `no_changes_reason` says why.
    """

    workspace: Workspace
    command_count: int
    failed_count: int
    timed_out_count: int
    commands: tuple[CommandLine, ...]
    changes: TreeChanges | None
    no_changes_reason: str
    files: tuple[FileChange, ...]
    added_lines: int
    removed_lines: int
    event_count: int
    events: tuple[EventLine, ...]
    snapshots: tuple[Snapshot, ...]
    services: tuple[Service, ...] = ()


def review_of(
    workspace: Workspace,
    commands: Sequence[CommandRecord],
    events: Sequence[ReviewEvent],
    snapshots: Sequence[Snapshot],
    changes: TreeChanges | None,
    no_changes_reason: str = "",
    services: Sequence[Service] = (),
) -> Review:
    """Condense the facts. Events before the last reset do not count."""
    lines = [command_line(each) for each in commands]
    noted = [
        EventLine(each.at, each.kind, event_text(each))
        for each in _since_reset(events)
        if each.kind is not ReviewKind.COMMAND
    ]
    entries = () if changes is None else changes.entries
    return Review(
        workspace=workspace,
        command_count=len(lines),
        failed_count=sum(each.failed for each in lines),
        timed_out_count=sum(each.timed_out for each in lines),
        commands=_informative(lines),
        changes=changes,
        no_changes_reason=no_changes_reason,
        files=tuple(sorted(entries, key=_rank)[:MAX_FILES]),
        added_lines=sum(each.added_lines for each in entries),
        removed_lines=sum(each.removed_lines for each in entries),
        event_count=len(noted),
        events=tuple(noted[-MAX_EVENTS:]),
        snapshots=tuple(snapshots),
        services=tuple(services),
    )


def command_line(record: CommandRecord) -> CommandLine:
    """Return the page's line about a command."""
    if record.timed_out:
        outcome = "timed out"
    elif record.exit_code is None:
        outcome = brief(record.error) if record.error else "still running"
    else:
        outcome = f"exit {record.exit_code}" + (" (out of memory)" if record.oom_killed else "")
    return CommandLine(
        record.seq, brief(spelled(record.command)), outcome, record.exit_code, record.timed_out, record.duration_ms
    )


def spelled(command: str | tuple[str, ...]) -> str:
    """Return a command as typed in a shell."""
    if isinstance(command, str):
        return command
    from shlex import join

    return join(command)


def brief(text: str) -> str:
    """Return a text on one line, safe to print, and cut if it is long."""
    line = " ".join(shown(part.encode("utf-8", "surrogateescape")) for part in text.split())
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"


def event_text(event: ReviewEvent) -> str:
    """Return one line about an event."""

    def fact(name: str) -> str:
        return brief(str(event.summary.get(name, "?")))

    entries = _count(event, "entry_count", "entry", "entries")
    match event.kind:
        case ReviewKind.PATCH:
            return f"patched {_count(event, 'file_count', 'file', 'files')} (+{fact('added')} -{fact('removed')})"
        case ReviewKind.FILE_WRITE:
            return f"wrote {fact('path')} ({_count(event, 'size_bytes', 'byte', 'bytes')})"
        case ReviewKind.SYNC:
            return f"pushed {fact('source_path')} to {fact('destination')} ({entries})"
        case ReviewKind.EXPORT if event.summary.get("disk"):
            return f"exported the whole disk to {fact('output_path')}"
        case ReviewKind.EXPORT:
            return f"exported {fact('path')} to {fact('output_path')} ({entries})"
        case ReviewKind.SNAPSHOT:
            return f"{'deleted' if event.summary.get('deleted') else 'took'} snapshot {fact('name')}"
        case ReviewKind.RESET:
            return f"reset to {fact('snapshot')}"
        case ReviewKind.START | ReviewKind.STOP:
            return _switched(event)
        case ReviewKind.SERVICE:
            return f"service {fact('service')}: {fact('what')}"
        case ReviewKind.COMMAND:
            return f"ran command {fact('command_seq')}"
        case _:
            assert_never(event.kind)


def _count(event: ReviewEvent, name: str, one: str, many: str) -> str:
    value = event.summary.get(name, "?")
    return brief(f"{value} {one if value == 1 else many}")


def _switched(event: ReviewEvent) -> str:
    if event.kind is ReviewKind.STOP:
        return f"stopped ({brief(str(event.summary.get('reason', '?')))})"
    return "created" if event.summary.get("created") else "started again"


def _rank(change: FileChange) -> tuple[bool, bool, bool]:
    """Order changes for a reviewer: first those of the project's own files, and those that the diff shows."""
    return change.change is DiffChange.ADDED, change.ignored, not change.is_patched


def _since_reset(events: Sequence[ReviewEvent]) -> list[ReviewEvent]:
    for index in range(len(events) - 1, -1, -1):
        if events[index].kind is ReviewKind.RESET:
            return list(events[index:])
    return list(events)


def _informative(lines: list[CommandLine]) -> tuple[CommandLine, ...]:
    """Return the most informative commands: the last ones, and failed ones before them."""
    if len(lines) <= MAX_COMMANDS:
        return tuple(lines)
    half = MAX_COMMANDS // 2
    earlier = [each for each in lines[:-half] if each.failed][-half:]
    room = MAX_COMMANDS - len(earlier)
    return (*earlier, *[each for each in lines[-room:] if each not in earlier])
