"""Exchange frames over a connection, within limits of time and memory.

Every wait has a deadline, at most one frame and one read of a guest's data are buffered, and a protocol violation ends
the session.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Mapping

from pyro_mcp.agent.messages import breach
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.transport import Connection
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import Decoder, Frame, FrameError

READ_BYTES = 65536
# The limit for data that an earlier session left in a lane: the device's rings and the VMM's buffers hold far less.
_MAX_STALE_BYTES = 16 * 1024 * 1024
# A signal that arrives just before the poll, or in another thread, does not interrupt it, and its Python handler runs
# only afterwards. Bounding each poll keeps Ctrl-C responsive.
_MAX_POLL_S = 0.5


class Bound:
    """A deadline that can be extended: time used by the host itself must not count against the guest."""

    def __init__(self, timeout_s: float, what: str) -> None:
        self._timeout_s = timeout_s
        self._what = what
        self._end = time.monotonic() + timeout_s

    def extend(self, seconds: float) -> None:
        """Postpone the deadline."""
        self._end += seconds

    def shorten(self, timeout_s: float, what: str) -> None:
        """Wait for something else, for at most `timeout_s` from now."""
        end = time.monotonic() + timeout_s
        if end < self._end:
            self._end, self._timeout_s, self._what = end, timeout_s, what

    @property
    def end_s(self) -> float:
        """Return the deadline, in monotonic time."""
        return self._end

    def remaining_s(self) -> float:
        """Return the time left.

        Raises:
            PyroError: TIMEOUT if it has passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise Deadline(self._timeout_s, self._what).error()
        return left


class Channel:
    """A connection that carries frames in both directions. Not thread-safe."""

    def __init__(self, connection: Connection, nonce: bytes) -> None:
        self._connection = connection
        self._socket = connection.socket
        self._socket.setblocking(False)
        self._fd = self._socket.fileno()
        self._nonce = nonce
        self._out = bytearray()
        self._frames: deque[Frame] = deque()
        self._decoder = Decoder(wire.GUEST_LIMITS)
        # Data before our nonce belongs to an earlier session. `_stale` keeps its end, which may be part of the nonce.
        self._greeted = False
        self._stale: bytes = b""
        self._stale_bytes = 0
        self._closed = False

    @property
    def unsent_bytes(self) -> int:
        """Return the number of queued bytes."""
        return len(self._out)

    def queue(self, data: bytes) -> None:
        """Queue bytes, which the next `wait` sends."""
        self._out += data

    def frame(self, bound: Bound) -> Frame:
        """Return the next frame.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        while not self._frames:
            self.wait(bound, {})
        # The deadline also applies to a guest that never pauses.
        bound.remaining_s()
        return self._frames.popleft()

    def take(self) -> Frame | None:
        """Return the next frame that was already received, or None."""
        return self._frames.popleft() if self._frames else None

    def wait(self, bound: Bound, others: Mapping[int, int]) -> set[int]:
        """Wait, then send and receive; return which of the `others` (descriptor: poll mask) are ready.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        if self._closed:
            raise PyroError(ErrorCode.GUEST_LOST, "the session with the guest agent is closed")
        # Usually everything can be sent immediately, without polling first.
        if self._out:
            self._send()
        poller = select.poll()
        poller.register(self._fd, select.POLLIN | (select.POLLOUT if self._out else 0))
        for fd, mask in others.items():
            poller.register(fd, mask)
        ready: set[int] = set()
        for fd, mask in poller.poll(min(bound.remaining_s(), _MAX_POLL_S) * 1000):
            if fd != self._fd:
                ready.add(fd)
                continue
            if mask & select.POLLOUT:
                self._send()
            if mask & ~select.POLLOUT:
                self._receive()
        return ready

    def send_now(self) -> None:
        """Send as much as possible without blocking, ignoring errors: for a last message."""
        try:
            self._send()
        except PyroError:
            self._out.clear()

    def hand_over(self) -> Connection:
        """Return the connection for use by the caller. Nothing may be in transit in either direction.

        Raises:
            PyroError: PROTOCOL if the guest sent unsolicited data.
        """
        if self._frames or self._decoder.buffered_bytes or self._out or not self._greeted:
            raise breach("unsolicited data")
        self._closed = True
        return self._connection

    def close(self) -> None:
        """Close the connection. May be called repeatedly."""
        self._closed = True
        self._connection.close()

    def _send(self) -> None:
        try:
            while self._out:
                sent = self._socket.send(self._out[:READ_BYTES])
                del self._out[:sent]
        except BlockingIOError:
            return
        except OSError as error:
            raise _lost(error) from error

    def _receive(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise _lost(error) from error
        if not data:
            raise _lost(None)
        if not self._greeted:
            data = self._after_nonce(data)
        if data:
            try:
                self._frames.extend(self._decoder.feed(data))
            except FrameError as error:
                raise breach(str(error)) from None

    def _after_nonce(self, data: bytes) -> bytes:
        data = self._stale + data
        found = data.find(self._nonce)
        if found >= 0:
            self._greeted = True
            self._stale = b""
            return data[found + len(self._nonce) :]
        kept = len(self._nonce) - 1
        self._stale_bytes += max(0, len(data) - kept)
        self._stale = data[-kept:]
        if self._stale_bytes > _MAX_STALE_BYTES:
            raise breach(f"no answer to the greeting within {_MAX_STALE_BYTES} bytes")
        return b""


def _lost(error: OSError | None) -> PyroError:
    reason = "" if error is None else f" ({error.strerror})"
    return PyroError(
        ErrorCode.GUEST_LOST,
        f"the guest went away{reason}",
        hint="Check its status; its console may show why it ended.",
    )
