"""Serve MCP over stdin and stdout, until the client closes either or a signal asks to stop.

A call's guest is gone before the process is.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio

from pyro_mcp.mcp_server.server import server_of
from pyro_mcp.mcp_server.stdio import ClientGoneError, open_stdio
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from typing import Any

    from mcp.server.lowlevel import Server

    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.profiles import Profile


def serve_stdio(profile: Profile, access: HostAccess) -> int:
    """Serve a profile's tools; return the exit status."""
    server = server_of(profile, Runner(), access)
    try:
        anyio.run(_serve, server)
    except* ClientGoneError:
        pass
    return 0


async def _serve(server: Server[dict[str, Any]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
        async with open_stdio() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            # Every call is cancelled, which ends its guest; later signals find nothing left to do.
            scope.cancel()
