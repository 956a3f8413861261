"""Carrying TCP connections over one lane: the host's side of a guest's `Tunnel`.

Owns the loop, the windows of each connection, and half-closing and resetting as TCP does. Refuses to believe the guest:
what is not in the protocol, or beyond a window, ends everything.
"""

from __future__ import annotations

import selectors
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

from pyro_mcp.agent.messages import breach
from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.frames import Decoder, FrameError, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MUX = struct.Struct(services.MUX)
_CREDIT = struct.Struct("<I")
_PORT = struct.Struct("<H")
_READ_BYTES = 256 * 1024
_MOST_BYTES = wire.MAX_DATA_BYTES - _MUX.size
_CREDIT_BYTES = services.OUT_WINDOW_BYTES // 4
# While so much waits for the guest, clients are not read.
_CONGESTED_BYTES = 256 * 1024
_IDENT = 1
_MAX_NUMBER = 0xFFFFFFFF
# Closing with this set sends a reset (socket(7)).
_ABORT = struct.pack("ii", 1, 0)
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Relay:
    """One lane, the listeners, and the connections between.

    `when_listening` is called once, when the guest takes connections. `listeners` are pairs of a listening socket and
    the guest's port.
    """

    def __init__(
        self,
        lane: socket.socket,
        listeners: Sequence[tuple[socket.socket, int]],
        when_listening: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._listeners = listeners
        self._when_listening = when_listening
        self._selector = selectors.DefaultSelector()
        self._decoder = Decoder(wire.GUEST_LIMITS)
        self._out = bytearray()
        self._clients: dict[int, Client] = {}
        self._last = 0
        self._accepting = False
        self._congested = False
        self._over = False
        self._lane_mask = _READ
        lane.setblocking(False)
        self._selector.register(lane, _READ, self._on_lane)

    def run(self, body: bytes) -> None:
        """Ask the guest for connections (the body of PUBLISH), and carry them until the service or the guest ends.

        Raises:
            PyroError: PROTOCOL if the guest does what it may not.
            OSError: if the lane breaks.
        """
        self.queue(encode(_IDENT, wire.SERVICE, body))
        try:
            while not self._over:
                self._flush()
                for key, mask in self._selector.select():
                    key.data(mask)
        finally:
            for client in list(self._clients.values()):
                client.close(abort=True)
            self._selector.close()

    @property
    def connection_count(self) -> int:
        """Return how many connections are open."""
        return len(self._clients)

    @property
    def is_congested(self) -> bool:
        """Say whether the guest is so slow that no more should be queued for it."""
        return len(self._out) >= _CONGESTED_BYTES

    def queue(self, data: bytes) -> None:
        """Send bytes to the guest, when the events at hand are dealt with."""
        self._out += data

    def say(self, number: int, word: int, data: bytes = b"") -> None:
        """Say a word about a connection."""
        self.queue(encode(_IDENT, wire.DATA, _MUX.pack(number, word) + data))

    def watch(self, client: socket.socket, before: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call `handler` when something of `mask` can be done, instead of `before`."""
        if not before:
            self._selector.register(client, mask, handler)
        elif mask:
            self._selector.modify(client, mask, handler)
        else:
            self._selector.unregister(client)

    def forget(self, number: int) -> None:
        """Take note that a connection is no more, which makes room for another."""
        self._clients.pop(number, None)
        self._accept_while_there_is_room()

    def _on_lane(self, mask: int) -> None:
        if mask & _WRITE:
            self._flush()
        if not mask & _READ:
            return
        try:
            data = self._lane.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._over = True
            return
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            raise breach(str(error)) from None
        for ident, kind, body in frames:
            if ident != _IDENT or kind not in (wire.STDOUT, wire.RESULT, wire.FAILURE):
                raise breach(f"a frame of kind {kind} for {ident} where connections are carried")
            if kind != wire.STDOUT:
                self._over = True
                return
            self._hear(body)

    def _hear(self, body: bytes) -> None:
        if len(body) < _MUX.size:
            raise breach("a word that is too short")
        number, word = _MUX.unpack_from(body)
        if word == services.LISTENING and not number:
            self._when_listening()
            self._accept_while_there_is_room()
            return
        client = self._clients.get(number)
        if client is None:
            # What crossed our own word that it is no more.
            return
        if word == services.DATA:
            client.write(body[_MUX.size :])
        elif word == services.CREDIT and len(body) == _MUX.size + _CREDIT.size:
            client.credit(_CREDIT.unpack_from(body, _MUX.size)[0])
        elif word == services.SHUT:
            client.shut()
        elif word == services.RESET:
            client.close(abort=True)
        else:
            raise breach(f"the word {word} about a connection")

    def _flush(self) -> None:
        out = self._out
        try:
            while out:
                sent = self._lane.send(out)
                del out[:sent]
        except BlockingIOError:
            pass
        mask = _READ | _WRITE if out else _READ
        if mask != self._lane_mask:
            self._lane_mask = mask
            self._selector.modify(self._lane, mask, self._on_lane)
        was_congested, self._congested = self._congested, self.is_congested
        if was_congested and not self._congested:
            for client in list(self._clients.values()):
                client.settle()

    def _accept_while_there_is_room(self) -> None:
        wanted = len(self._clients) < services.MAX_CONNECTIONS
        if wanted == self._accepting or self._over:
            return
        self._accepting = wanted
        for listener, port in self._listeners:
            if wanted:
                listener.setblocking(False)
                self._selector.register(listener, _READ, partial(self._accept, listener, port))
            else:
                self._selector.unregister(listener)

    def _accept(self, listener: socket.socket, port: int, mask: int) -> None:
        del mask
        if not self._accepting:
            return
        try:
            connection, _ = listener.accept()
        except OSError:
            # Gone again, or no descriptors left: those that are open go on.
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._last = self._last % _MAX_NUMBER + 1
        self.say(self._last, services.OPEN, _PORT.pack(port))
        self._clients[self._last] = Client(self, self._last, connection)
        self._accept_while_there_is_room()


class Client:
    """One connection from this host."""

    def __init__(self, relay: Relay, number: int, connection: socket.socket) -> None:
        self._relay = relay
        self._number = number
        self._socket: socket.socket | None = connection
        self._mask = 0
        self._pending = bytearray()
        # What the guest may still send, what it is not told yet that was taken, and what may be sent to it.
        self._allowed = services.OUT_WINDOW_BYTES
        self._unacknowledged = 0
        self._window = services.IN_WINDOW_BYTES
        self._client_done = False
        self._service_done = False
        self._is_shut = False
        self.settle()

    def write(self, data: bytes) -> None:
        """Pass on what the service sent."""
        self._allowed -= len(data)
        if self._allowed < 0 or self._service_done:
            raise breach("more of a connection than it was given room for")
        if not self._pending:
            data = self._send(data)
        self._pending += data
        self.settle()

    def shut(self) -> None:
        """Let the client see the end, when it has got all before it."""
        self._service_done = True
        self.settle()

    def credit(self, count: int) -> None:
        """Take note that the service can take more."""
        self._window += count
        if self._window > services.IN_WINDOW_BYTES:
            raise breach("credit for what was not sent")
        self.settle()

    def close(self, *, abort: bool) -> None:
        """Hang up; with `abort`, as a reset does."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        if self._mask:
            self._relay.watch(connection, self._mask, 0, self._on_event)
            self._mask = 0
        if abort:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        connection.close()
        self._pending.clear()
        self._relay.forget(self._number)

    def settle(self) -> None:
        """Shut and close what is done, and wait for what can happen next."""
        connection = self._socket
        if connection is None:
            return
        if self._service_done and not self._pending:
            if self._client_done:
                self.close(abort=False)
                return
            if not self._is_shut:
                self._is_shut = True
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    self._break_off()
                    return
        reads = not self._client_done and self._window > 0 and not self._relay.is_congested
        mask = (_READ if reads else 0) | (_WRITE if self._pending else 0)
        if mask != self._mask:
            self._relay.watch(connection, self._mask, mask, self._on_event)
            self._mask = mask

    def _on_event(self, mask: int) -> None:
        if mask & _WRITE and self._pending:
            self._pending = bytearray(self._send(bytes(self._pending)))
        if mask & _READ:
            self._read()
        self.settle()

    def _read(self) -> None:
        connection = self._socket
        if connection is None or self._client_done or not self._window:
            return
        try:
            data = connection.recv(min(self._window, _MOST_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._break_off()
            return
        if not data:
            self._client_done = True
            self._relay.say(self._number, services.SHUT)
            return
        self._window -= len(data)
        for piece in pieces(data):
            self._relay.say(self._number, services.DATA, piece)

    def _send(self, data: bytes) -> bytes:
        """Send what the client takes, and return the rest."""
        connection = self._socket
        if connection is None:
            return b""
        try:
            sent = connection.send(data)
        except BlockingIOError:
            return data
        except OSError:
            self._break_off()
            return b""
        self._unacknowledged += sent
        if self._unacknowledged >= _CREDIT_BYTES:
            self._allowed += self._unacknowledged
            self._relay.say(self._number, services.CREDIT, _CREDIT.pack(self._unacknowledged))
            self._unacknowledged = 0
        return data[sent:]

    def _break_off(self) -> None:
        if self._socket is not None:
            self._relay.say(self._number, services.RESET)
            self.close(abort=True)


def pieces(data: bytes) -> list[bytes]:
    """Return data in pieces that do not spell, one after the other, the magic which starts a session on a lane."""
    found: list[bytes] = []
    start = 0
    while (at := data.find(wire.LANE_MAGIC, start)) >= 0:
        end = at + len(wire.LANE_MAGIC) // 2
        found.append(data[start:end])
        start = end
    found.append(data[start:])
    return found
