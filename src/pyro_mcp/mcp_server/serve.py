"""Serving MCP over stdin and stdout.

Owns the process: its standard streams, its signals and its end. Refuses to write anything but the protocol to stdout,
and to leave while a call's guest still runs.
"""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING, cast

import anyio
from mcp.server.stdio import stdio_server

from pyro_mcp.mcp_server.server import server_of
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any, Self

    from mcp.server.lowlevel import Server

    from pyro_mcp.operations.profiles import Profile

_READ_BYTES = 256 * 1024


def serve_stdio(profile: Profile) -> int:
    """Serve a profile's tools until the client closes stdin or a signal asks to stop; return the exit status."""
    server = server_of(profile, Runner())
    anyio.run(_serve, server)
    return 0


async def _serve(server: Server[dict[str, Any]]) -> None:
    # Whatever runs here reads an empty stdin: the protocol's is ours alone. (The SDK does the same for stdout.)
    wire = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            lines = cast("anyio.AsyncFile[str]", Lines(wire))
            async with stdio_server(stdin=lines) as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())
            tasks.cancel_scope.cancel()
    finally:
        os.dup2(wire, 0)
        os.close(wire)


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            # Every call is cancelled, which ends its guest; later signals find nothing left to do.
            scope.cancel()


class Lines:
    """The lines that come in on a descriptor, without a thread that could not be interrupted while it waits."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # Reading a file never waits, and the event loop could not wait for one.
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._lines = self._read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._lines)

    async def _read(self) -> AsyncGenerator[str]:
        held = bytearray()
        while True:
            if not self._is_file:
                await anyio.wait_readable(self._fd)
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                break
            held += data
            if b"\n" not in data:
                continue
            *complete, rest = held.split(b"\n")
            held = rest
            for line in complete:
                yield line.decode("utf-8", "replace")
        if held:
            yield held.decode("utf-8", "replace")
