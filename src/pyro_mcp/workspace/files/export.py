"""Export a file or directory of a workspace to the host, and record it for review.

`trees.receive` enforces the rules: nothing is overwritten, no link is followed, nothing is written outside the output,
and files that a host tool would run automatically are left out unless the baseline has them or the user asks for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind
from pyro_mcp.state.journal import note_activity
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.trees.receive import ReceiveReport, TreeReceiver
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.left_out import LeftOut, left_out_of
from pyro_mcp.workspace.files.paths import path_below, path_shown
from pyro_mcp.workspace.guest import guest_of


@dataclass(frozen=True, slots=True)
class Exported:
    """The report of an export."""

    workspace_id: str
    path: str
    report: ReceiveReport
    left_out: LeftOut


def export_workspace(
    engine: Engine,
    handle: str,
    path: str,
    output_path: Path,
    *,
    include_ignored: bool = False,
    include_host_hooks: bool = False,
    is_strict: bool = False,
    cancel: CancelToken | None = None,
) -> Exported:
    """Write a file or directory of a workspace to a new path of the host.

    Ignored files that were added below `path` are left out, unless `path` itself is ignored.

    Raises:
        PyroError: CONFLICT if `output_path` already exists; NOT_FOUND, INVALID, PROTOCOL, NO_SPACE, PERMISSION; any
            failure of the guest. `output_path` is not created then.
    """
    name = path_below(path)
    output = Path(os.path.abspath(output_path))
    with guest_of(engine, handle, activity=False) as use:
        hooks = HookPolicy(
            inside=name,
            baseline=use.workspace.seed.host_hooks,
            include_all=include_host_hooks,
            is_strict=is_strict,
        )
        engine.progress.phase("export", path_shown(name))
        with (
            TreeReceiver(output, hooks=hooks, progress=engine.progress, notes=engine.paths.exports) as receiver,
            use.session() as session,
        ):
            packed = GuestFiles(session, cancel=cancel).pack(
                name, receiver.feed, rules=use.workspace.seed.checkout_rules, include_ignored=include_ignored
            )
            report = receiver.finish()
        workspace_id = use.workspace.id
    shown = path_shown(name)
    summary: dict[str, object] = {
        "path": shown,
        "output_path": report.output_path,
        "kind": report.kind.value,
        "entry_count": report.entry_count,
        "bytes_written": report.bytes_written,
        "left_out_count": report.left_out_count,
        "ignored_count": packed.ignored.count,
        "host_hook_count": report.host_hook_count,
    }
    note_activity(engine.store, engine.clock, workspace_id, event=ReviewEvent(ReviewKind.EXPORT, summary))
    return Exported(workspace_id, shown, report, left_out_of(packed.ignored))
