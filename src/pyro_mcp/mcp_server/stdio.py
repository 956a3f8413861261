"""The stdio transport: stdin and stdout as the two streams that the SDK's server runs on.

Ours instead of the SDK's, because that one answers nothing that it cannot parse, and writes in a thread that a client
which reads no more would block for ever. While it is open, file descriptor 0 is empty and 1 is stderr, so nothing that
runs in this process reads or writes the protocol by accident.
"""

from __future__ import annotations

import fcntl
import os
import select
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, cast

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from pyro_mcp.mcp_server.messages import HEAD_BYTES, MAX_LINE_BYTES, Invalid, cancelled, encode, parse, too_long

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.types import JSONRPCMessage

    from pyro_mcp.mcp_server.first_answers import Handover

_READ_BYTES = 256 * 1024
# A client that closes our stdin may still read the answers to what it has asked; a long call is not waited for.
LAST_ANSWERS_S = 1.0


class ClientGoneError(Exception):
    """The client has closed our stdout."""


@asynccontextmanager
async def open_stdio(
    handover: Handover,
) -> AsyncGenerator[
    tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
]:
    """Give the streams of incoming and outgoing messages, of which some were read and some answered before.

    Raises:
        ClientGoneError: in a group, when an answer cannot be written any more.
    """
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception]()
    sent, outgoing = anyio.create_memory_object_stream[SessionMessage]()
    with _standard_streams() as (stdin, stdout):
        lines = LineWriter(stdout)
        requests = _Requests(handover.answered)
        try:
            async with incoming, received, sent, outgoing, anyio.create_task_group() as tasks:
                tasks.start_soon(_read, read_lines(stdin, handover), incoming, lines, requests)
                tasks.start_soon(_write, outgoing, lines, requests)
                yield received, sent
        finally:
            with anyio.move_on_after(LAST_ANSWERS_S, shield=True), suppress(ClientGoneError):
                await lines.write(b"".join(cancelled(ident).encode() for ident in requests.ids))


class _Requests:
    """The requests that have no answer yet, and those that had theirs before the server saw them."""

    def __init__(self, answered: set[str | int]) -> None:
        self.ids: list[str | int] = []
        self.answered = answered
        self._none = anyio.Event()

    def add(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest) and message.id not in self.answered:
            self.ids.append(message.id)

    def remove(self, ident: object) -> None:
        if ident in self.ids:
            self.ids.remove(cast("str | int", ident))
        if not self.ids:
            self._none.set()
            self._none = anyio.Event()

    async def wait(self) -> None:
        while self.ids:
            await self._none.wait()


async def _read(
    lines: AsyncGenerator[bytes | Invalid],
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    answers: LineWriter,
    requests: _Requests,
) -> None:
    async with incoming:
        async for line in lines:
            message = parse(line) if isinstance(line, bytes) else line
            if isinstance(message, Invalid):
                await answers.write(message.encode())
            elif message is not None:
                requests.add(message)
                if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
                    # Not answered any more.
                    requests.remove((message.params or {}).get("requestId"))
                await incoming.send(SessionMessage(message))
        # The server cancels at the end of input whatever still runs, and does not answer what it has not begun.
        with anyio.move_on_after(LAST_ANSWERS_S):
            await requests.wait()


async def _write(outgoing: MemoryObjectReceiveStream[SessionMessage], lines: LineWriter, requests: _Requests) -> None:
    async with outgoing:
        async for session in outgoing:
            message = session.message
            if isinstance(message, (JSONRPCResponse, JSONRPCError)):
                if message.id in requests.answered:
                    requests.answered.discard(message.id)
                    continue
                requests.remove(message.id)
            await lines.write(encode(message))


async def read_lines(fd: int, handover: Handover) -> AsyncGenerator[bytes | Invalid]:
    """Give the lines that were read before, then those that arrive on `fd`, and an error for each that is too long."""
    for line in handover.lines:
        yield line
    pollable = _is_pollable(fd)
    held, skipping = bytearray(handover.rest), False
    while True:
        if pollable:
            await anyio.wait_readable(fd)
        data = os.read(fd, _READ_BYTES)
        *complete, rest = data.split(b"\n")
        for line in complete:
            held += line
            if not skipping:
                yield bytes(held) if len(held) <= MAX_LINE_BYTES else too_long(bytes(held[:HEAD_BYTES]))
            held.clear()
            skipping = False
        if not data:
            break
        if skipping:
            continue
        held += rest
        if len(held) > MAX_LINE_BYTES:
            yield too_long(bytes(held[:HEAD_BYTES]))
            held.clear()
            skipping = True
    if held:
        yield bytes(held)


class LineWriter:
    """Write whole lines to a descriptor, from several tasks, without a thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = anyio.Lock()
        # The rest that a cancelled task has not finished comes before the next line.
        self._rest = bytearray()
        self._pollable = _is_pollable(fd)

    async def write(self, line: bytes) -> None:
        """Write a line.

        Raises:
            ClientGoneError: nobody reads it.
        """
        async with self._lock:
            self._rest += line
            while self._rest:
                if self._pollable:
                    await anyio.wait_writable(self._fd)
                try:
                    # A descriptor that is writable takes this much without blocking.
                    written = os.write(self._fd, self._rest[: select.PIPE_BUF])
                except (BrokenPipeError, ConnectionResetError):
                    raise ClientGoneError from None
                del self._rest[:written]


@contextmanager
def _standard_streams() -> Generator[tuple[int, int]]:
    """Move stdin and stdout to descriptors of their own, and back again."""
    wires = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1)]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        yield wires[0], wires[1]
    finally:
        for fd, wire in enumerate(wires):
            os.dup2(wire, fd)
            os.close(wire)


def _is_pollable(fd: int) -> bool:
    """Say whether the event loop can wait for `fd`: not for files and /dev/null, which are always ready."""
    with select.epoll() as poller:
        try:
            poller.register(fd)
        except PermissionError:
            return False
    return True
