"""Connections from the host to the ports of a service, many over one lane.

Owns opening them to the guest's own loopback, carrying both directions within their windows, and half-closing,
resetting and refusing as TCP would. Refuses ports that are not the service's, and more connections than the limit.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from pyro_mcp.guest.loop import GONE, READABLE, WRITABLE
from pyro_mcp.protocol import services, wire

if TYPE_CHECKING:
    from pyro_mcp.guest.conversation import Conversation
    from pyro_mcp.guest.loop import Loop

_MUX = struct.Struct(services.MUX)
_FRAME = struct.Struct("<IIB" + services.MUX.removeprefix("<"))
_AFTER_LENGTH = _FRAME.size - 4
_CREDIT = struct.Struct("<I")
_PORT = struct.Struct("<H")
_MOST_BYTES = wire.MAX_DATA_BYTES - _MUX.size
_CREDIT_BYTES = services.IN_WINDOW_BYTES // 4
# Closing with this set sends a reset (socket(7)).
_ABORT = struct.pack("ii", 1, 0)
# A listener may be on either; the second is tried when the first refuses.
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_UNDERWAY = {0, errno.EINPROGRESS}


class Tunnel:
    """All connections of one published service: what goes on between PUBLISH and its RESULT."""

    def __init__(
        self, loop: Loop, session: Conversation, ident: int, ports: frozenset[int], siblings: list[Tunnel]
    ) -> None:
        self.loop = loop
        self.lane = session.lane
        self._session = session
        self._ident = ident
        self._ports = ports
        self._siblings = siblings
        self._connections: dict[int, Connection] = {}
        self._waiting: list[Connection] = []
        siblings.append(self)
        session.begin(ident, self)
        self.send(0, services.LISTENING)

    @property
    def stdin(self) -> Tunnel:
        """Return where DATA goes."""
        return self

    def write(self, data: bytes) -> None:
        """Take a word of the host's about a connection."""
        number, word = _MUX.unpack_from(data)
        connection = self._connections.get(number)
        if word == services.OPEN:
            (port,) = _PORT.unpack_from(data, _MUX.size)
            self._open(number, port)
        elif connection is None:
            # What crossed our own word that it is no more.
            return
        elif word == services.DATA:
            connection.write(data[_MUX.size :])
        elif word == services.CREDIT:
            (count,) = _CREDIT.unpack_from(data, _MUX.size)
            connection.credit(count)
        elif word == services.SHUT:
            connection.shut()
        elif word == services.RESET:
            connection.reset(tell=False)

    def end(self) -> None:
        """Do nothing: there is no end but those of the connections."""

    def credit(self, stream: int, count: int) -> None:
        """Do nothing: each connection has its own."""

    def cancel(self) -> None:
        """End it, and answer."""
        self.finish(cancelled=True)

    def abandon(self) -> None:
        """End it: the host has gone."""
        self._close()

    def finish(self, *, cancelled: bool = False) -> None:
        """Reset what is open, and say that it is over."""
        if self in self._siblings:
            self._close()
            self._session.answered(self._ident)
            self._session.reply(
                self._ident, {"exit_code": 0, "timed_out": False, "cancelled": cancelled, "duration_ms": 0}
            )

    def send(self, number: int, word: int, data: bytes = b"") -> None:
        """Say a word about a connection."""
        # One frame's header and the word's own, at once: data in bulk is copied once only.
        self.lane.send(_FRAME.pack(_AFTER_LENGTH + len(data), self._ident, wire.STDOUT, number, word) + data)

    def wait(self, connection: Connection) -> None:
        """Let a connection go on when the host has taken what waits for it."""
        if not self._waiting:
            self.lane.call_when_drained(self._go_on)
        self._waiting.append(connection)

    def forget(self, number: int) -> None:
        """Take note that a connection is no more."""
        self._connections.pop(number, None)

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.go_on()

    def _open(self, number: int, port: int) -> None:
        if number in self._connections or len(self._connections) >= services.MAX_CONNECTIONS or port not in self._ports:
            self.send(number, services.RESET)
            return
        connection = Connection(self, number, port)
        self._connections[number] = connection
        connection.begin()

    def _close(self) -> None:
        if self in self._siblings:
            self._siblings.remove(self)
        for connection in list(self._connections.values()):
            connection.reset(tell=False)


class Connection:
    """One TCP connection."""

    def __init__(self, tunnel: Tunnel, number: int, port: int) -> None:
        self._tunnel = tunnel
        self._number = number
        self._port = port
        self._addresses = list(_LOOPBACKS)
        self._socket: socket.socket | None = None
        self._mask = 0
        self._connected = False
        self._pending = bytearray()
        self._unacknowledged = 0
        self._window = services.OUT_WINDOW_BYTES
        # Whether more comes from the host, and from the service.
        self._host_done = False
        self._service_done = False
        self._is_shut = False
        self._waits_for_lane = False

    def begin(self) -> None:
        """Connect to the first address that takes it."""
        self._hang_up()
        while self._addresses:
            family, host = self._addresses.pop(0)
            try:
                connection = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                # No IPv6 here, or no descriptors left.
                continue
            connection.setblocking(False)
            if connection.connect_ex((host, self._port)) in _UNDERWAY:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket = connection
                self._watch(WRITABLE)
                return
            connection.close()
        self.reset(tell=True)

    def write(self, data: bytes) -> None:
        """Pass on what the host sent."""
        if self._host_done:
            return
        if len(self._pending) + len(data) > services.IN_WINDOW_BYTES:
            self.reset(tell=True)
            return
        if self._connected and not self._pending:
            data = self._send(data)
        if data:
            self._pending += data
        self._settle()

    def shut(self) -> None:
        """Let the service see the end, when it has got all before it."""
        self._host_done = True
        self._settle()

    def credit(self, count: int) -> None:
        """Take note that the host can take more."""
        self._window += count
        self._settle()

    def go_on(self) -> None:
        """Take up reading again: there is room on the lane."""
        self._waits_for_lane = False
        self._settle()

    def reset(self, *, tell: bool) -> None:
        """Break it off, as a reset does."""
        self._tunnel.forget(self._number)
        if tell:
            self._tunnel.send(self._number, services.RESET)
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._hang_up()
        self._pending.clear()

    def _on_event(self, mask: int) -> None:
        if not self._connected:
            self._on_connected()
            return
        if mask & WRITABLE and self._pending:
            self._pending = bytearray(self._send(bytes(self._pending)))
        if self._socket is not None and mask & (READABLE | GONE):
            self._read()
        self._settle()

    def _on_connected(self) -> None:
        connection = self._socket
        if connection is None:
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.begin()
            return
        self._connected = True
        if self._pending:
            self._pending = bytearray(self._send(bytes(self._pending)))
        self._settle()

    def _read(self) -> None:
        connection, tunnel = self._socket, self._tunnel
        if connection is None or self._service_done or not self._window or self._waits_for_lane:
            return
        if tunnel.lane.is_congested:
            self._waits_for_lane = True
            tunnel.wait(self)
            return
        try:
            data = connection.recv(min(self._window, _MOST_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self.reset(tell=True)
            return
        if data:
            self._window -= len(data)
            tunnel.send(self._number, services.DATA, data)
        else:
            self._service_done = True
            tunnel.send(self._number, services.SHUT)

    def _send(self, data: bytes) -> bytes:
        """Send what the service takes, and return the rest."""
        connection = self._socket
        if connection is None:
            return b""
        try:
            sent = connection.send(data)
        except BlockingIOError:
            return data
        except OSError:
            self.reset(tell=True)
            return b""
        self._unacknowledged += sent
        if self._unacknowledged >= _CREDIT_BYTES:
            self._tunnel.send(self._number, services.CREDIT, _CREDIT.pack(self._unacknowledged))
            self._unacknowledged = 0
        return data[sent:]

    def _settle(self) -> None:
        """Shut and close what is done, and wait for what can happen next."""
        connection = self._socket
        if connection is None or not self._connected:
            return
        if self._host_done and not self._pending:
            if self._service_done:
                self._tunnel.forget(self._number)
                self._hang_up()
                return
            if not self._is_shut:
                self._is_shut = True
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    self.reset(tell=True)
                    return
        reads = not self._service_done and self._window > 0 and not self._waits_for_lane
        # With neither, a reset would be reported for ever: it shows with the next thing that is done.
        self._watch((READABLE if reads else 0) | (WRITABLE if self._pending else 0))

    def _watch(self, mask: int) -> None:
        if self._socket is None or mask == self._mask:
            return
        fd, loop = self._socket.fileno(), self._tunnel.loop
        if not self._mask:
            loop.add(fd, self._on_event, mask)
        elif mask:
            loop.change(fd, mask)
        else:
            loop.remove(fd)
        self._mask = mask

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            if self._mask:
                self._tunnel.loop.remove(connection.fileno())
                self._mask = 0
            connection.close()
