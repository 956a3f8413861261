"""Diff a workspace against its baseline.

The guest's answers are bounded and not trusted; the diff is composed on the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyro_mcp.agent.file_values import DiffBounds
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.workspace.files.paths import path_below
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.review.composing import MAX_PATCH_BYTES, Composition, compose

if TYPE_CHECKING:
    from pyro_mcp.agent import CancelToken
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.review.changes import TreeChanges
    from pyro_mcp.workspace.secrets.redactor import Redactor

MAX_ENTRIES = 20_000
# Per file, and of both sides of all files together.
MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_TOTAL_BYTES = 32 * 1024 * 1024
# The limits are raised by this factor for a path that was asked for explicitly.
_PATH_FACTOR = 8
_REDACTED = "this patch can't be applied: secret values in it are redacted; `export` brings the files themselves"


@dataclass(frozen=True, slots=True)
class WorkspaceDiff:
    """A workspace and its differences from the baseline."""

    workspace: Workspace
    changes: TreeChanges


def diff_workspace(
    engine: Engine,
    handle: str,
    *,
    path: str = WORKSPACE,
    include_ignored: bool = False,
    binary: bool = False,
    include_host_hooks: bool = False,
    cancel: CancelToken | None = None,
) -> WorkspaceDiff:
    """Compare a workspace with its baseline; return the differences at or below `path`.

    Ignored files that were added are left out, unless `path` names them. Files that a tool of the host would run
    automatically are left out of the patch, unless they were in the baseline.

    Raises:
        PyroError: NOT_FOUND, INVALID, MISSING_PROGRAM (diff); any failure of the guest.
    """
    name = path_below(path)
    factor = _PATH_FACTOR if name else 1
    with guest_of(engine, handle, activity=False) as use, use.session() as session:
        tree = GuestFiles(session, cancel=cancel).diff(
            DiffBounds(MAX_ENTRIES, factor * MAX_FILE_BYTES, factor * MAX_TOTAL_BYTES),
            name,
            rules=use.workspace.seed.checkout_rules,
            include_ignored=include_ignored,
            include_binary=binary,
        )
        workspace = use.workspace
    redactor = _redactor(engine, workspace)
    how = Composition(
        HookPolicy(baseline=workspace.seed.host_hooks, include_all=include_host_hooks),
        prefix=workspace.seed.checkout_prefix.encode("utf-8", "surrogateescape"),
        max_patch_bytes=factor * MAX_PATCH_BYTES,
        is_secret=None if redactor is None else lambda data: redactor.data(data) != data,
    )
    changes = compose(tree, engine.paths.runtime, how)
    if redactor is not None and (patch := redactor.data(changes.patch)) != changes.patch:
        engine.notice(_REDACTED)
        # Programs that apply patches skip text before the first file.
        changes = replace(changes, patch=f"# {_REDACTED}\n".encode() + patch)
    return WorkspaceDiff(workspace, changes)


def _redactor(engine: Engine, workspace: Workspace) -> Redactor | None:
    if not workspace.secrets:
        return None
    from pyro_mcp.workspace.secrets.keeping import redactor_for

    return redactor_for(engine.paths, workspace)
