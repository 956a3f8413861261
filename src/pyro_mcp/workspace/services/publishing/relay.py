"""The host's side of a guest's `Tunnel`: TCP connections of this host, multiplexed over one lane.

The guest is not trusted: any violation of the protocol, or of a window, closes everything.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial

from pyro_mcp.agent.messages import breach
from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.connections import LINGER_S, MUX, Connection
from pyro_mcp.protocol.frames import Decoder, FrameError, encode
from pyro_mcp.protocol.loop import GONE, READABLE, WRITABLE, Loop

_PORT = struct.Struct("<H")
_READ_BYTES = 256 * 1024
# While this much data waits for the guest, clients are not read.
_CONGESTED_BYTES = 256 * 1024
_IDENT = 1
_MAX_NUMBER = 0xFFFFFFFF
_WORDS = {services.DATA, services.CREDIT, services.SHUT, services.RESET}


class Relay:
    """Forwards the connections of some listeners over one lane.

    `when_listening` is called once, when the guest accepts connections. `listeners` are pairs of a listening socket and
    the guest's port; they are closed when the service or the guest ends.
    """

    def __init__(
        self,
        lane: socket.socket,
        listeners: Sequence[tuple[socket.socket, int]],
        when_listening: Callable[[], None],
    ) -> None:
        self.loop = Loop()
        self._lane = lane
        self._listeners = listeners
        self._when_listening = when_listening
        self._decoder = Decoder(wire.GUEST_LIMITS)
        self._out = bytearray()
        self._flush_planned = False
        self._clients: dict[int, Connection] = {}
        self._last = 0
        self._accepting = False
        self._ending = False
        self._congested = False
        self._over = False
        self._lane_mask = READABLE
        lane.setblocking(False)
        self.loop.add(lane.fileno(), self._on_lane)

    def run(self, body: bytes) -> None:
        """Send the body of PUBLISH, and forward connections until the service or the guest ends.

        Raises:
            PyroError: PROTOCOL if the guest violates the protocol.
            OSError: if the lane breaks.
        """
        self._queue(encode(_IDENT, wire.SERVICE, body))
        try:
            self.loop.run()
        finally:
            for client in list(self._clients.values()):
                client.close(abort=True)
            self.loop.close()

    @property
    def connection_count(self) -> int:
        """Return the number of open connections."""
        return len(self._clients)

    def has_room(self) -> bool:
        """Return whether the lane accepts more data; if not, all clients are resumed when it does."""
        self._congested = len(self._out) >= _CONGESTED_BYTES
        return not self._congested

    def send(self, number: int, word: int, data: bytes = b"") -> None:
        """Send a message about a connection."""
        for piece in pieces(data):
            self._queue(encode(_IDENT, wire.DATA, MUX.pack(number, word) + piece))

    def forget(self, number: int) -> None:
        """Remove a closed connection, which makes room for another one."""
        self._clients.pop(number, None)
        self._accept_while_there_is_room()
        if self._over and not self._clients:
            self.loop.running = False

    def reject(self, number: int, reason: str) -> None:
        """Close everything: the guest violated the protocol.

        Raises:
            PyroError: PROTOCOL.
        """
        raise breach(f"{reason} ({number})")

    def _queue(self, data: bytes) -> None:
        self._out += data
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.flush_soon(self._flush)

    def _on_lane(self, mask: int) -> None:
        if mask & WRITABLE:
            self._flush()
        if not mask & (READABLE | GONE):
            return
        try:
            data = self._lane.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._end()
            return
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            raise breach(str(error)) from None
        for ident, kind, body in frames:
            if ident != _IDENT or kind not in (wire.STDOUT, wire.RESULT, wire.FAILURE):
                raise breach(f"a frame of kind {kind} for {ident} where connections are carried")
            if kind != wire.STDOUT:
                self._end()
                return
            self._receive(body)

    def _receive(self, body: bytes) -> None:
        if len(body) < MUX.size:
            raise breach("a message that is too short")
        number, word = MUX.unpack_from(body)
        if word == services.LISTENING and not number:
            self._when_listening()
            self._accept_while_there_is_room()
        elif word == services.ENDING and not number:
            self._stop_listening()
        elif word not in _WORDS:
            raise breach(f"the message {word} about a connection")
        elif number in self._clients:
            self._clients[number].receive(word, body[MUX.size :])

    def _flush(self) -> None:
        self._flush_planned = False
        out = self._out
        if self._over:
            out.clear()
            return
        try:
            while out:
                sent = self._lane.send(out)
                del out[:sent]
        except BlockingIOError:
            pass
        mask = READABLE | WRITABLE if out else READABLE
        if mask != self._lane_mask:
            self._lane_mask = mask
            self.loop.change(self._lane.fileno(), mask)
        if self._congested and self.has_room():
            for client in list(self._clients.values()):
                client.settle()

    def _end(self) -> None:
        """At the end, deliver the remaining data to clients, for a limited time."""
        self._over = True
        self.loop.remove(self._lane.fileno())
        self._stop_listening()
        self.loop.at(LINGER_S, self._stop)
        for client in list(self._clients.values()):
            client.reset()
        if not self._clients:
            self._stop()

    def _stop(self) -> None:
        self.loop.running = False

    def _stop_listening(self) -> None:
        self._ending = True
        self._accept_while_there_is_room()
        for listener, _ in self._listeners:
            listener.close()

    def _accept_while_there_is_room(self) -> None:
        wanted = len(self._clients) < services.MAX_CONNECTIONS and not self._ending
        if wanted == self._accepting:
            return
        self._accepting = wanted
        for listener, port in self._listeners:
            if wanted:
                listener.setblocking(False)
                self.loop.add(listener.fileno(), partial(self._accept, listener, port))
            else:
                self.loop.remove(listener.fileno())

    def _accept(self, listener: socket.socket, port: int, mask: int) -> None:
        del mask
        if not self._accepting:
            return
        try:
            connection, _ = listener.accept()
        except OSError:
            # Already closed, or no descriptors left: open connections continue.
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._last = self._last % _MAX_NUMBER + 1
        self.send(self._last, services.OPEN, _PORT.pack(port))
        client = self._clients[self._last] = Connection(
            self, self._last, out_bytes=services.IN_WINDOW_BYTES, in_bytes=services.OUT_WINDOW_BYTES
        )
        client.attach(connection)
        self._accept_while_there_is_room()


def pieces(data: bytes) -> list[bytes]:
    """Split data so that no piece contains the magic that starts a session on a lane."""
    found: list[bytes] = []
    start = 0
    while (at := data.find(wire.LANE_MAGIC, start)) >= 0:
        end = at + len(wire.LANE_MAGIC) // 2
        found.append(data[start:end])
        start = end
    found.append(data[start:])
    return found
