"""Collect the facts of a workspace's summary from the journal, the guest and the diff.

A failing guest does not fail the summary, which then says why there is no comparison.
"""

from __future__ import annotations

from pyro_mcp.agent import CancelToken
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.commands.logs import events_workspace, logs_workspace
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import status_workspace
from pyro_mcp.workspace.lifecycle.snapshots import list_snapshots
from pyro_mcp.workspace.review.diff import diff_workspace
from pyro_mcp.workspace.review.review import Review, review_of
from pyro_mcp.workspace.services.inspect import services_of

_NOT_FOR_US = frozenset({ErrorCode.CANCELLED, ErrorCode.NOT_FOUND})


def summarize_workspace(
    engine: Engine, handle: str, *, include_ignored: bool = False, cancel: CancelToken | None = None
) -> Review:
    """Summarize what happened in a workspace.

    Raises:
        PyroError: NOT_FOUND, CANCELLED.
    """
    workspace = status_workspace(engine, handle)
    changes, reason = None, ""
    try:
        compared = diff_workspace(engine, workspace.id, include_ignored=include_ignored, cancel=cancel)
        workspace, changes = compared.workspace, compared.changes
    except PyroError as error:
        if error.code in _NOT_FOR_US:
            raise
        reason = error.message
    return review_of(
        workspace,
        logs_workspace(engine, workspace.id),
        events_workspace(engine, workspace.id),
        list_snapshots(engine, workspace.id),
        changes,
        reason,
        services_of(engine, workspace),
    )
