"""Looking at one workspace.

Owns the answer, after the store was made to agree with reality. Refuses to count as activity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.ws_find import find_workspace

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine


def status_workspace(engine: Engine, handle: str) -> Workspace:
    """Return a workspace as it is now.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if several ids begin like that.
    """
    engine.reconcile()
    return find_workspace(engine, handle)
