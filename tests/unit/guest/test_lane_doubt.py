"""A port on which a session begins before the kernel knows of its host: how long that is believed."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, cast

import pytest

from pyro_mcp.guest.lane import Lane
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import encode
from pyro_mcp.protocol.loop import GONE, READABLE, Deadline, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.guest.operations import Operations

GREETING = wire.LANE_MAGIC + encode(
    0, wire.HELLO, struct.pack(wire.HELLO_FORMAT, bytes(wire.NONCE_BYTES), wire.GENERATION, 0)
)


class Scripted(Loop):
    """A loop whose events and deadlines the test brings about itself."""

    def __init__(self) -> None:
        super().__init__()
        self.happen: Callable[[int], None] = lambda _: None
        self.planned: list[Deadline] = []

    def add(self, fd: int, handler: Callable[[int], None], mask: int = READABLE) -> None:
        super().add(fd, handler, mask)
        self.happen = handler

    def at(self, delay_s: float, call: Callable[[], None]) -> Deadline:
        deadline = super().at(delay_s, call)
        self.planned.append(deadline)
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        super().cancel(deadline)
        if deadline in self.planned:
            self.planned.remove(deadline)


class QuietOperations:
    """Answers greetings, and nothing else."""

    def greet(self, clock_ns: int) -> None:
        del clock_ns

    def ready(self) -> bytes:
        return b"{}"


class Port:
    """A lane on a port, and the host's end of it."""

    def __init__(self) -> None:
        self.loop = Scripted()
        self.host, theirs = socket.socketpair()
        self.lane = Lane(theirs.detach(), self.loop, cast("Operations", QuietOperations()), is_connection=False)

    def greet(self, mask: int) -> None:
        """Have a session begin with what the kernel says of the port at that moment."""
        self.host.sendall(GREETING)
        self.loop.happen(mask)

    @property
    def is_in_session(self) -> bool:
        """Say whether the lane has something to send: the answer to a greeting that was not forgotten."""
        self.loop.later(lambda: None)
        self.loop.step()
        self.host.setblocking(False)
        try:
            return bool(self.host.recv(4096))
        except BlockingIOError:
            return False


@pytest.fixture
def port() -> Generator[Port]:
    port = Port()
    yield port
    port.lane.close()
    port.host.close()
    port.loop.close()


def test_a_session_without_a_host_is_doubted_for_a_while(port: Port) -> None:
    port.greet(GONE | READABLE)
    assert port.is_in_session
    assert len(port.loop.planned) == 1


def test_the_news_of_the_host_ends_the_doubt(port: Port) -> None:
    port.greet(GONE | READABLE)
    port.loop.happen(READABLE)
    assert port.loop.planned == []


def test_the_doubt_about_one_session_does_not_reach_the_next(port: Port) -> None:
    port.greet(GONE | READABLE)
    port.loop.happen(READABLE)
    port.loop.happen(GONE)
    port.greet(GONE | READABLE)
    # One doubt, and it is the second session's own: the first one's has gone with it.
    assert len(port.loop.planned) == 1
    port.greet(GONE | READABLE)
    assert len(port.loop.planned) == 1
    assert port.is_in_session
