"""Diff a workspace against its baseline.

The guest's answers are bounded and not trusted; the diff is composed on the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyro_mcp.agent.file_values import TreeDiff
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.workspace.files.paths import path_below
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.review.composing import compose

if TYPE_CHECKING:
    from pyro_mcp.agent import CancelToken
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.review.changes import TreeChanges

MAX_ENTRIES = 20_000
# Of one file, and of both sides of all files together.
MAX_FILE_BYTES = 8 * 1024 * 1024
_REDACTED = "this patch can't be applied: secret values in it are redacted; `export` brings the files themselves"
MAX_TOTAL_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkspaceDiff:
    """A workspace and what differs in it."""

    workspace: Workspace
    changes: TreeChanges


def diff_workspace(
    engine: Engine,
    handle: str,
    *,
    path: str = WORKSPACE,
    include_host_hooks: bool = False,
    cancel: CancelToken | None = None,
) -> WorkspaceDiff:
    """Compare a workspace with its baseline; of what differs, show what is at or below `path`.

    The patch leaves out what a tool of the host would run by itself, unless it was in the baseline.

    Raises:
        PyroError: NOT_FOUND, INVALID, MISSING_PROGRAM (diff); what keeps the guest from answering.
    """
    name = path_below(path)
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        tree = GuestFiles(session, cancel=cancel).diff(
            max_entries=MAX_ENTRIES, max_file_bytes=MAX_FILE_BYTES, max_total_bytes=MAX_TOTAL_BYTES
        )
        workspace = use.workspace
    policy = HookPolicy(baseline=workspace.seed.host_hooks, include_all=include_host_hooks)
    changes = compose(_below(tree, name), engine.paths.runtime, policy)
    if workspace.secrets and _is_redacted(engine, workspace, changes.patch):
        engine.notice(_REDACTED)
        # Programs that apply patches skip text before the first file.
        changes = replace(changes, patch=f"# {_REDACTED}\n{changes.patch}")
    return WorkspaceDiff(workspace, changes)


def _is_redacted(engine: Engine, workspace: Workspace, patch: str) -> bool:
    from pyro_mcp.workspace.secrets.keeping import redactor_for

    return redactor_for(engine.paths, workspace).text(patch) != patch


def _below(tree: TreeDiff, name: bytes) -> TreeDiff:
    if not name:
        return tree
    prefix = name + b"/"
    kept = tuple(each for each in tree.entries if each.path == name or each.path.startswith(prefix))
    return TreeDiff(kept, len(kept), tree.truncated)
