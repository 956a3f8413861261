"""Listing workspaces.

Owns the list, after the store was made to agree with reality. Refuses to cost a process or a lock for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine


def list_workspaces(engine: Engine) -> tuple[Workspace, ...]:
    """Return all workspaces, the one that was active last first.

    Raises:
        PyroError: the store can't be used.
    """
    engine.reconcile()
    workspaces, damaged = engine.store.workspaces.all()
    if damaged:
        engine.mend_workspaces()
        workspaces, _ = engine.store.workspaces.all()
    return tuple(workspaces)
