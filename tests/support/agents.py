"""The real agent as a process on this host, and transports to it."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyro_mcp.agent import AgentSession, ExecRequest, ExecResult, GuestConfig, Stream
from pyro_mcp.host import process
from pyro_mcp.host.sockets import connect_unix, listen_unix
from pyro_mcp.host.transport import LaneUse

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import Self

    from pyro_mcp.agent import Transport

TIMEOUT_S = 30.0


class SocketConnection:
    """Wrap a connected socket as a session expects it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


class SocketTransport:
    """Connect to an agent that listens at a path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self, *, timeout_s: float, use: LaneUse = LaneUse.SHORT, **_: object) -> SocketConnection:
        del use
        return SocketConnection(connect_unix(self._path, timeout_s))


class PairTransport:
    """One end of a socket pair, for a peer that the test plays itself."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()

    def connect(self, *, timeout_s: float, use: LaneUse = LaneUse.SHORT, **_: object) -> SocketConnection:
        del use
        assert timeout_s > 0
        return SocketConnection(self.ours)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def config() -> GuestConfig:
    return GuestConfig(hostname="guest-test01", machine_id=os.urandom(16).hex())


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a command and its output."""

    result: ExecResult
    stdout: bytes
    stderr: bytes


@dataclass(slots=True)
class Collected:
    """The output of a command, by stream."""

    streams: dict[Stream, bytearray] = field(
        default_factory=lambda: {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    )

    def take(self, stream: Stream, data: bytes) -> None:
        self.streams[stream] += data


def run(session: AgentSession, *argv: str, timeout_s: float = TIMEOUT_S, cwd: str = "/workspace", **how: Any) -> Ran:
    """Run a command; one argument is a shell line."""
    command = ("/bin/sh", "-c", argv[0]) if len(argv) == 1 else argv
    collected = Collected()
    env = how.pop("env", {})
    result = session.exec(ExecRequest(command, timeout_s=timeout_s, cwd=cwd, env=env), on_output=collected.take, **how)
    return Ran(result, bytes(collected.streams[Stream.STDOUT]), bytes(collected.streams[Stream.STDERR]))


@dataclass(frozen=True, slots=True)
class LocalAgent:
    """The agent as a process on this host."""

    child: process.Child
    transport: Transport
    root: Path


@contextmanager
def local_agent(home: Path) -> Generator[LocalAgent]:
    """Start an agent in a directory below `home`."""
    root = home / "root"
    root.mkdir(parents=True)
    with (
        listen_unix(home / "agent", backlog=16) as listener,
        process.start(
            [sys.executable, "-P", "-m", "pyro_mcp.guest", "--listen-fd", str(listener.fileno()), "--root", root],
            pass_fds=[listener.fileno()],
            stderr=None,
        ) as child,
    ):
        yield LocalAgent(child, SocketTransport(home / "agent"), root)


def opened(transport: Transport) -> AgentSession:
    """Open a session with a configured agent."""
    return AgentSession.open(transport, timeout_s=TIMEOUT_S)
