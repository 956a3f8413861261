"""The review page: a short Markdown text about a workspace, for a chat or a pull request comment.

Names and commands chosen by others are put between backquotes, so that none becomes markup.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyro_mcp.model.kinds import DiffChange
from pyro_mcp.workspace.review.review import brief

if TYPE_CHECKING:
    from pyro_mcp.model.service import Service
    from pyro_mcp.model.workspace import SeedInfo
    from pyro_mcp.workspace.files.left_out import LeftOut
    from pyro_mcp.workspace.review.changes import FileChange
    from pyro_mcp.workspace.review.review import CommandLine, Review

_NAMED_FILES = 10
_UNITS = ("bytes", "KiB", "MiB", "GiB")
_MARKS = {
    DiffChange.ADDED: "added",
    DiffChange.MODIFIED: "modified",
    DiffChange.DELETED: "deleted",
    DiffChange.TYPE_CHANGED: "another kind",
}


def page(review: Review) -> str:
    """Return the page."""
    lines = [*_head(review), *_commands(review), *_changes(review), *_events(review)]
    return "\n".join(lines) + "\n"


def _head(review: Review) -> list[str]:
    workspace = review.workspace
    title = f"{workspace.name} ({workspace.id})" if workspace.name else workspace.id
    ran = ", ".join(str(each.value) for each in (workspace.execution_mode, workspace.isolation) if each)
    since = workspace.created_at if workspace.last_reset_at is None else workspace.last_reset_at
    resets = workspace.reset_count
    begun = ("reset" if resets == 1 else f"last of {resets} resets") if resets else "created"
    stopped = f" ({workspace.stop_reason.value})" if workspace.stop_reason else ""
    facts = [workspace.environment, workspace.state.value + stopped, ran, f"{begun} {_clock(since)}"]
    return [f"# Workspace {title}", "", " · ".join(each for each in facts if each), _seed(workspace.seed)]


def _seed(seed: SeedInfo) -> str:
    if seed.seed_path is None:
        return "Began empty."
    size = f"{_plural(seed.entry_count, 'entry', 'entries')}, {_size(seed.bytes_written)}"
    left = f"; {seed.skipped_count} left out" if seed.skipped_count else ""
    return f"Began as {code(seed.seed_path)} ({size}{left})."


def _commands(review: Review) -> list[str]:
    count = review.command_count
    if not count:
        return ["", "## Commands", "", "None."]
    parts = [_plural(count, "run", "runs")]
    parts += [f"{review.failed_count} failed"] if review.failed_count else []
    parts += [f"{review.timed_out_count} of them timed out"] if review.timed_out_count else []
    lines = ["", f"## Commands: {', '.join(parts)}", ""]
    if count > len(review.commands):
        lines.append(f"- … {count - len(review.commands)} others")
    return lines + [_command(each) for each in review.commands]


def _command(line: CommandLine) -> str:
    mark = "**" if line.failed else ""
    has_result = line.timed_out or line.exit_code is not None
    took = f" after {line.duration_ms / 1000:.1f} s" if has_result else ""
    outcome = f"{mark}{line.outcome}{mark}" if has_result else code(line.outcome)
    return f"- #{line.seq} {code(line.command)}: {outcome}{took}"


def _changes(review: Review) -> list[str]:
    changes = review.changes
    if changes is None:
        return ["", "## Files", "", f"Not compared with the baseline: {code(brief(review.no_changes_reason))}"]
    counts = changes.counts
    if not counts.total:
        return ["", "## Files", "", "As in the baseline.", *_left_out(changes.left_out)]
    parts = [f"{number} {name}" for name, number in _by_change(review) if number]
    heading = f"## Files: {counts.total} differ ({', '.join(parts)}), +{review.added_lines} -{review.removed_lines}"
    lines = ["", heading, "", *(_file(each) for each in review.files)]
    if counts.total > len(review.files):
        lines.append(f"- … {counts.total - len(review.files)} others")
    return lines + _left_out(changes.left_out)


def _left_out(left_out: LeftOut) -> list[str]:
    """Return the line about ignored files, with the names that are ignored unexpectedly."""
    if not left_out.ignored_count:
        return []
    text = f"Ignored and left out: {left_out.ignored_count}"
    names = [code(each.path) for each in left_out.ignored if each.by_changed_rule][:_NAMED_FILES]
    if names:
        more = ", …" if left_out.changed_rule_count > len(names) else ""
        text += f". Only changed rules hide {', '.join(names)}{more}"
    return ["", f"{text}."]


def _by_change(review: Review) -> list[tuple[str, int]]:
    counts = review.changes.counts if review.changes else None
    if counts is None:
        return []
    return [
        ("modified", counts.modified),
        ("added", counts.added),
        ("deleted", counts.deleted),
        ("of another kind", counts.type_changed),
    ]


def _file(change: FileChange) -> str:
    lines = f" +{change.added_lines} -{change.removed_lines}" if change.is_patched else f" ({change.reason})"
    return f"- {_MARKS[change.change]} {code(change.path)}{lines}"


def _events(review: Review) -> list[str]:
    lines: list[str] = []
    if review.event_count:
        lines = ["", "## Besides", ""]
        if review.event_count > len(review.events):
            lines.append(f"- … {review.event_count - len(review.events)} before")
        lines += [f"- {_clock(each.at)} {code(each.text)}" for each in review.events]
    names = ", ".join(code(each.name) for each in review.snapshots)
    services = ", ".join(f"{code(each.name)} {_outcome(each)}" for each in review.services)
    return [*lines, "", f"Snapshots: {names or 'none'}. Services: {services or 'none'}."]


def _outcome(service: Service) -> str:
    return service.state.value if service.exit_code is None else f"{service.state.value} (exit {service.exit_code})"


def code(text: str) -> str:
    """Return untrusted text as Markdown code: nothing in it becomes markup."""
    runs = max((len(run) for run in _backquotes(text)), default=0)
    fence = "`" * (runs + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _backquotes(text: str) -> list[str]:
    runs: list[str] = []
    run = ""
    for sign in text + " ":
        if sign == "`":
            run += sign
        elif run:
            runs.append(run)
            run = ""
    return runs


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _size(byte_count: int) -> str:
    number = float(byte_count)
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def _clock(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch_s))
