"""Run the SDK's server over stdin and stdout, until the client closes either or a signal asks to stop.

A call's guest is gone before the process is.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio

from pyro_mcp.mcp_server.first_answers import Handover
from pyro_mcp.mcp_server.stdio import ClientGoneError, open_stdio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from mcp.server.lowlevel import Server


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(server: Server[dict[str, Any]], handover: Handover | None = None) -> None:
    """Serve stdin and stdout, beginning with the lines that were handed over."""
    try:
        anyio.run(_serve, server, handover or Handover())
    except* ClientGoneError:
        pass


async def _serve(server: Server[dict[str, Any]], handover: Handover) -> None:
    # Claude Code sends SIGINT, then SIGTERM: the second must not end the process while calls still clean up.
    with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, signals, tasks.cancel_scope)
            async with open_stdio(handover) as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())
            tasks.cancel_scope.cancel()
        # What is left is the end of the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


async def _stop_on_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
    async for _ in signals:
        # Every call is cancelled, which ends its guest.
        scope.cancel()
