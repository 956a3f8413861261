"""Read the log of a workspace's network: every attempt to reach a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.network.running import read_network_log

if TYPE_CHECKING:
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.network.running import NetworkLog

DEFAULT_LOG_ENTRIES = 200
MAX_LOG_ENTRIES = 10_000


def read_log(engine: Engine, workspace_id: str, *, since: int = 0, limit: int = DEFAULT_LOG_ENTRIES) -> NetworkLog:
    """Return the last `limit` attempts of a workspace, or those from the offset `since` on.

    Raises:
        PyroError: NOT_FOUND; the log can't be read.
    """
    return read_network_log(engine, engine.store.workspaces.get(workspace_id), since, limit)
