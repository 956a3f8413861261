"""One of the many TCP connections multiplexed over a lane; both ends of the lane use this code.

Data is delivered before the end of stream or the reset that follows it. A socket that accepts no more data is therefore
read to its end before the peer is notified, and a reset is delayed until the socket has accepted everything sent before
it, for at most `LINGER_S`.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from typing import Protocol

from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.loop import GONE, READABLE, WRITABLE, Deadline, Loop

LINGER_S = 30.0
MUX = struct.Struct(services.MUX)
_CREDIT = struct.Struct("<I")
_MOST_BYTES = wire.MAX_DATA_BYTES - MUX.size
# Closing with this set sends a reset (socket(7)).
_ABORT = struct.pack("ii", 1, 0)
# linux/sockios.h: how many bytes in a socket's send queue have not been sent yet.
_SIOCOUTQNSD = 0x894B


class Carrier(Protocol):
    """The interface of a lane that its connections use."""

    @property
    def loop(self) -> Loop:
        """Return the loop that watches the sockets."""
        ...

    def has_room(self) -> bool:
        """Return whether the lane accepts more data. If not, every connection is settled once it does."""
        ...

    def send(self, number: int, word: int, data: bytes = b"") -> None:
        """Send a message about a connection; `word` is its type."""
        ...

    def forget(self, number: int) -> None:
        """Remove a closed connection."""
        ...

    def reject(self, number: int, reason: str) -> None:
        """Handle a protocol violation by the peer."""
        ...


class Connection:
    """A connection. `out_bytes` and `in_bytes` are its send and receive windows on the lane."""

    def __init__(self, carrier: Carrier, number: int, *, out_bytes: int, in_bytes: int) -> None:
        self.carrier = carrier
        self.number = number
        self._socket: socket.socket | None = None
        self._mask = 0
        self._pending = bytearray()
        self._window = self._most_bytes = out_bytes
        self._allowed = in_bytes
        self._credit_bytes = in_bytes // 4
        self._unacknowledged = 0
        # `_ended`: the socket was read to its end. `_broken`: it accepts no data. `_peer_*`: announced by the peer.
        self._ended = False
        self._broken = False
        self._finishing = False
        self._peer_ended = False
        self._peer_reset = False
        self._is_shut = False
        self._linger: Deadline | None = None

    def attach(self, connection: socket.socket) -> None:
        """Start carrying a connected, non-blocking socket."""
        self._socket = connection
        self._flush()
        self.settle()

    def receive(self, word: int, data: bytes) -> None:
        """Handle a message from the peer about this connection."""
        if word == services.DATA:
            self._write(data)
        elif word == services.CREDIT and len(data) == _CREDIT.size:
            self._window += _CREDIT.unpack(data)[0]
            if self._window > self._most_bytes:
                self.carrier.reject(self.number, "credit for data that was not sent")
        elif word == services.SHUT:
            self._peer_ended = True
        elif word == services.RESET:
            self.reset()
        else:
            self.carrier.reject(self.number, f"message type {word} for a connection")
        self.settle()

    def reset(self) -> None:
        """Reset the connection once the socket has accepted everything sent before."""
        self._peer_reset = True
        self._start_lingering()
        self.settle()

    def finish(self) -> None:
        """Close the connection once the socket is read to its end: its server is gone and accepts no more data."""
        self._finishing = True
        self._break()
        self.settle()

    def settle(self) -> None:
        """Shut down or close whatever is finished, and wait for the next event."""
        connection = self._socket
        if connection is None:
            return
        if not self._pending and (self._peer_ended or self._peer_reset):
            if self._peer_reset and not _unsent_bytes(connection):
                self.close(abort=True)
                return
            if not self._is_shut:
                self._is_shut = True
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    self._break()
        if self._ended and (self._broken or self._is_shut):
            if self._broken and not self._peer_reset:
                self.carrier.send(self.number, services.RESET)
            self.close(abort=self._broken)
            return
        reads = not self._ended and (self._peer_reset or (self._window > 0 and self.carrier.has_room()))
        # Watched for neither, a reset would be reported forever; the next read or write notices it instead.
        self._watch((READABLE if reads else 0) | (WRITABLE if self._pending else 0))

    def close(self, *, abort: bool) -> None:
        """Close the socket, with `abort` as a reset does; may be called again."""
        connection, self._socket = self._socket, None
        if self._linger is not None:
            self.carrier.loop.cancel(self._linger)
            self._linger = None
        if connection is not None:
            if self._mask:
                self.carrier.loop.remove(connection.fileno())
                self._mask = 0
            if abort:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            connection.close()
        self._pending.clear()
        self.carrier.forget(self.number)

    def abort(self) -> None:
        """Reset both ends now."""
        if not self._peer_reset:
            self.carrier.send(self.number, services.RESET)
        self.close(abort=True)

    def _write(self, data: bytes) -> None:
        self._allowed -= len(data)
        if self._allowed < 0 or self._peer_ended:
            self.carrier.reject(self.number, "more data than the window allows")
            return
        self._pending += data
        self._flush()

    def _on_event(self, mask: int) -> None:
        if mask & WRITABLE:
            self._flush()
        if mask & (READABLE | GONE):
            self._read()
        self.settle()

    def _flush(self) -> None:
        connection = self._socket
        if connection is None or not self._pending:
            return
        try:
            # Bytes that can't be delivered are discarded but acknowledged: the peer must not wait for credit.
            sent = len(self._pending) if self._broken else connection.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._break()
            return
        del self._pending[:sent]
        self._unacknowledged += sent
        if self._unacknowledged >= self._credit_bytes:
            self._allowed += self._unacknowledged
            self.carrier.send(self.number, services.CREDIT, _CREDIT.pack(self._unacknowledged))
            self._unacknowledged = 0

    def _read(self) -> None:
        connection = self._socket
        if connection is None or self._ended:
            return
        if not self._peer_reset and (not self._window or not self.carrier.has_room()):
            return
        try:
            data = connection.recv(_MOST_BYTES if self._peer_reset else min(self._window, _MOST_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._ended = True
            self._break()
            return
        if self._peer_reset:
            self._ended = not data
        elif data:
            self._window -= len(data)
            self.carrier.send(self.number, services.DATA, data)
        else:
            self._ended = True
            if self._finishing or not self._broken:
                self.carrier.send(self.number, services.SHUT)

    def _break(self) -> None:
        """Continue with reading only: the socket accepts no more data."""
        self._broken = True
        self._start_lingering()
        self._flush()

    def _start_lingering(self) -> None:
        if self._linger is None:
            self._linger = self.carrier.loop.at(LINGER_S, self.abort)

    def _watch(self, mask: int) -> None:
        if self._socket is None or mask == self._mask:
            return
        fd, loop = self._socket.fileno(), self.carrier.loop
        if not self._mask:
            loop.add(fd, self._on_event, mask)
        elif mask:
            loop.change(fd, mask)
        else:
            loop.remove(fd)
        self._mask = mask


def _unsent_bytes(connection: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(connection, _SIOCOUTQNSD, bytes(4)), sys.byteorder)
