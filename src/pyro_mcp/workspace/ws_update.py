"""Changing a workspace's name and labels.

Owns what the change does to them. Refuses to touch anything that runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.naming import check_labels
from pyro_mcp.workspace.ws_find import find_workspace
from pyro_mcp.workspace.ws_record import copy_record

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.ws_spec import WorkspaceChange


def update_workspace(engine: Engine, handle: str, change: WorkspaceChange) -> Workspace:
    """Change a workspace's name and labels, and return it.

    Raises:
        PyroError: NOT_FOUND, for the workspace or a label that is to be cleared; CONFLICT if the name is taken;
            INVALID.
    """
    workspace = find_workspace(engine, handle)
    now_s = engine.clock.wall_s()

    def changed(now: Workspace) -> Workspace:
        missing = [key for key in change.clear_labels if key not in now.labels]
        if missing:
            raise PyroError(
                ErrorCode.NOT_FOUND,
                f"the workspace {now.title} has no label {missing[0]!r}",
                hint="Its status shows its labels.",
            )
        kept = {key: value for key, value in now.labels.items() if key not in change.clear_labels}
        after = replace(
            now,
            name=None if change.clear_name else change.name or now.name,
            labels=check_labels({**kept, **change.labels}),
        )
        return now if after == now else replace(after, last_activity_at=max(now.last_activity_at, now_s))

    workspace = engine.store.workspaces.update(workspace.id, changed)
    copy_record(engine, workspace)
    return workspace
