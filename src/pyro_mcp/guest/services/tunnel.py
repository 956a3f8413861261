"""Carry connections from the host to a service's loopback ports, and to no others, multiplexed over one lane."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.connections import LINGER_S, MUX, Connection
from pyro_mcp.protocol.loop import WRITABLE

if TYPE_CHECKING:
    from pyro_mcp.guest.conversation import Conversation
    from pyro_mcp.protocol.loop import Deadline, Loop

_FRAME = struct.Struct("<IIB" + services.MUX.removeprefix("<"))
_AFTER_LENGTH = _FRAME.size - 4
_PORT = struct.Struct("<H")
# The service may listen on either; the second is tried if the first refuses.
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_UNDERWAY = {0, errno.EINPROGRESS}


class Tunnel:
    """All connections of one PUBLISH request."""

    def __init__(
        self, loop: Loop, session: Conversation, ident: int, ports: frozenset[int], siblings: list[Tunnel]
    ) -> None:
        self.loop = loop
        self._lane = session.lane
        self._session = session
        self._ident = ident
        self._ports = ports
        self._siblings = siblings
        self._connections: dict[int, ServiceConnection] = {}
        self._waits_for_lane = False
        self._draining: Deadline | None = None
        siblings.append(self)
        session.begin(ident, self)
        self.send(0, services.LISTENING)

    @property
    def stdin(self) -> Tunnel:
        """Return the destination of DATA."""
        return self

    def write(self, data: bytes) -> None:
        """Handle a message about a connection. Messages for closed connections crossed their RESET and are ignored."""
        number, word = MUX.unpack_from(data)
        if word == services.OPEN:
            self._open(number, *_PORT.unpack_from(data, MUX.size))
        elif number in self._connections:
            self._connections[number].receive(word, data[MUX.size :])

    def end(self) -> None:
        """Do nothing: only connections end."""

    def credit(self, stream: int, count: int) -> None:
        """Do nothing: each connection has its own credit."""

    def cancel(self) -> None:
        """Reset all open connections, and answer."""
        self._close(cancelled=True)

    def abandon(self) -> None:
        """Reset all open connections: the session has ended."""
        self._close()

    def finish(self) -> None:
        """Answer once everything that the service sent before it ended is delivered, or after `LINGER_S`."""
        if self._draining is None:
            self._draining = self.loop.at(LINGER_S, self._close)
            self.send(0, services.ENDING)
            for connection in list(self._connections.values()):
                connection.finish()
            self._close_if_drained()

    def send(self, number: int, word: int, data: bytes = b"") -> None:
        """Send a message about a connection."""
        # Both headers are packed at once, so that bulk data is copied only once.
        self._lane.send(_FRAME.pack(_AFTER_LENGTH + len(data), self._ident, wire.STDOUT, number, word) + data)

    def has_room(self) -> bool:
        """Return whether the lane accepts more data; if not, all connections continue once it does."""
        if not self._lane.is_congested:
            return True
        if not self._waits_for_lane:
            self._waits_for_lane = True
            self._lane.call_when_drained(self._on_drained)
        return False

    def forget(self, number: int) -> None:
        """Remove a closed connection."""
        self._connections.pop(number, None)
        self._close_if_drained()

    def reject(self, number: int, reason: str) -> None:
        """Abort a connection on which the host violated the protocol."""
        del reason
        self._connections[number].abort()

    def _on_drained(self) -> None:
        self._waits_for_lane = False
        for connection in list(self._connections.values()):
            connection.settle()

    def _open(self, number: int, port: int) -> None:
        taken = number in self._connections or len(self._connections) >= services.MAX_CONNECTIONS
        if taken or self._draining is not None or port not in self._ports:
            self.send(number, services.RESET)
            return
        connection = self._connections[number] = ServiceConnection(self, number, port)
        connection.connect()

    def _close_if_drained(self) -> None:
        if self._draining is not None and not self._connections:
            self._close()

    def _close(self, *, cancelled: bool = False) -> None:
        if self not in self._siblings:
            return
        self._siblings.remove(self)
        if self._draining is not None:
            self.loop.cancel(self._draining)
        for connection in list(self._connections.values()):
            connection.abort()
        self._session.answered(self._ident)
        self._session.reply(self._ident, {"exit_code": 0, "timed_out": False, "cancelled": cancelled, "duration_ms": 0})


class ServiceConnection(Connection):
    """A connection to one of the service's ports."""

    def __init__(self, tunnel: Tunnel, number: int, port: int) -> None:
        super().__init__(tunnel, number, out_bytes=services.OUT_WINDOW_BYTES, in_bytes=services.IN_WINDOW_BYTES)
        self._port = port
        self._addresses = list(_LOOPBACKS)
        self._connecting: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the first address that accepts."""
        while self._addresses:
            family, host = self._addresses.pop(0)
            try:
                connection = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                # IPv6 is not available, or no descriptors are left.
                continue
            connection.setblocking(False)
            if connection.connect_ex((host, self._port)) in _UNDERWAY:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connecting = connection
                self.carrier.loop.add(connection.fileno(), self._on_connected, WRITABLE)
                return
            connection.close()
        self.abort()

    def close(self, *, abort: bool) -> None:
        """Close the socket, also one that is still connecting."""
        connection = self._take_connecting()
        if connection is not None:
            connection.close()
        super().close(abort=abort)

    def _take_connecting(self) -> socket.socket | None:
        connection, self._connecting = self._connecting, None
        if connection is not None:
            self.carrier.loop.remove(connection.fileno())
        return connection

    def _on_connected(self, mask: int) -> None:
        del mask
        connection = self._take_connecting()
        if connection is None:
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            connection.close()
            self.connect()
        else:
            self.attach(connection)
