"""Warm up the agent before a template is saved, by holding sessions with itself.

Afterwards programs and libraries are in memory, Python code is specialized, and the agent's memory pages are private,
so that a clone's first command incurs none of those costs.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from pyro_mcp.guest.lane import Lane
from pyro_mcp.guest.operations import Operations
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import Decoder, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.protocol.loop import Loop

_TIMEOUT_MS = 20_000
_READ_BYTES = 65536
_LINE_SHELL = "/bin/sh"
# More than the tolerated clock difference, so that the clock is set.
_CLOCK_STEP_NS = 1_000_000_000


def converse(loop: Loop, machine: Machine, commands: Sequence[Sequence[str]]) -> None:
    """Hold a session like a host's: greet the agent, configure it, run `commands`, and close the lane.

    Afterwards the machine has an identity, which the caller must remove.
    """
    ours, theirs = socket.socketpair()
    operations = Operations(machine, agent_digest="")
    lane = Lane(theirs.detach(), loop, operations, is_connection=False)
    try:
        ours.sendall(wire.LANE_MAGIC + _hello() + encode(1, wire.CONFIGURE, _configuration()))
        for ident, command in enumerate(commands, start=2):
            ours.sendall(encode(ident, wire.EXEC, _execution(command)))
            _await_end(ours, loop, ident)
        if not commands:
            _await_end(ours, loop, 1)
    finally:
        lane.close()
        ours.close()


def _await_end(ours: socket.socket, loop: Loop, ident: int) -> None:
    ours.setblocking(False)
    decoder = Decoder(wire.GUEST_LIMITS)
    greeted = False
    while True:
        loop.step()
        try:
            data = ours.recv(_READ_BYTES)
        except BlockingIOError:
            continue
        if not greeted and data.startswith(bytes(wire.NONCE_BYTES)):
            greeted = True
            data = data[wire.NONCE_BYTES :]
        if any(kind in (wire.RESULT, wire.FAILURE) and number == ident for number, kind, _ in decoder.feed(data)):
            return


def _hello() -> bytes:
    return encode(0, wire.HELLO, struct.pack(wire.HELLO_FORMAT, bytes(wire.NONCE_BYTES), wire.GENERATION, 0))


def _configuration() -> bytes:
    name = b"guest-actor1"
    clock_ns = time.time_ns() + _CLOCK_STEP_NS
    machine_id = os.urandom(16).hex().encode()
    return struct.pack(wire.CONFIGURE_FORMAT, clock_ns, bytes(wire.ENTROPY_BYTES), machine_id, len(name)) + name


def _execution(argv: Sequence[str]) -> bytes:
    texts = b"".join(text.encode() + b"\0" for text in ("/workspace", *argv))
    flags = wire.EXEC_LAST | (wire.EXEC_LINE if argv[0] == _LINE_SHELL else 0)
    return struct.pack(wire.EXEC_FORMAT, _TIMEOUT_MS, flags, len(argv), 0) + texts
