"""Frames over a connection, within bounds of time and memory.

Every wait has a deadline, no more of a guest's bytes is kept than one frame and one read, and a breach of the protocol
ends the conversation.
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
# The most that an earlier session may have left in a lane: the device's rings and the VMM's buffers hold far less.
_MAX_STALE_BYTES = 16 * 1024 * 1024
# A signal that arrives just before the poll, or in another thread, does not interrupt it, and its handler runs only
# after it: so no poll is longer than a person waits for Ctrl-C.
_MAX_POLL_S = 0.5


class Bound:
    """A deadline that our own slowness moves: time that the guest is not to blame for does not count."""

    def __init__(self, timeout_s: float, what: str) -> None:
        self._timeout_s = timeout_s
        self._what = what
        self._end = time.monotonic() + timeout_s

    def extend(self, seconds: float) -> None:
        """Give more time."""
        self._end += seconds

    def shorten(self, timeout_s: float, what: str) -> None:
        """Wait for something else, and at most so long from now."""
        end = time.monotonic() + timeout_s
        if end < self._end:
            self._end, self._timeout_s, self._what = end, timeout_s, what

    @property
    def end_s(self) -> float:
        """Return when it ends, in monotonic time."""
        return self._end

    def remaining_s(self) -> float:
        """Return the time left.

        Raises:
            PyroError: TIMEOUT if there is none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise Deadline(self._timeout_s, self._what).error()
        return left


class Channel:
    """A connection on which frames go both ways. Not for several threads."""

    def __init__(self, connection: Connection, nonce: bytes) -> None:
        self._connection = connection
        self._socket = connection.socket
        self._socket.setblocking(False)
        self._fd = self._socket.fileno()
        self._nonce = nonce
        self._out = bytearray()
        self._frames: deque[Frame] = deque()
        self._decoder = Decoder(wire.GUEST_LIMITS)
        # Until our nonce has come, what comes is not for us; its end may be the beginning of the nonce.
        self._greeted = False
        self._stale: bytes = b""
        self._stale_bytes = 0
        self._closed = False

    @property
    def unsent_bytes(self) -> int:
        """Return how much waits to be sent."""
        return len(self._out)

    def queue(self, data: bytes) -> None:
        """Send bytes, when it is waited the next time."""
        self._out += data

    def frame(self, bound: Bound) -> Frame:
        """Return the next frame.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        while not self._frames:
            self.wait(bound, {})
        # A guest that never pauses must not get past the deadline.
        bound.remaining_s()
        return self._frames.popleft()

    def take(self) -> Frame | None:
        """Return the next frame if one has come."""
        return self._frames.popleft() if self._frames else None

    def wait(self, bound: Bound, others: Mapping[int, int]) -> set[int]:
        """Send and receive, once something can be, and return which of the `others` (descriptor: poll mask) are ready.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        if self._closed:
            raise PyroError(ErrorCode.GUEST_LOST, "the conversation with the guest's agent is over")
        # Most often it can be sent at once, and needs no asking.
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
        """Send what can be sent without waiting, and ignore errors: for a last message."""
        try:
            self._send()
        except PyroError:
            self._out.clear()

    def hand_over(self) -> Connection:
        """Give the connection to somebody who goes on with it; nothing may be on its way, in either direction.

        Raises:
            PyroError: PROTOCOL if the guest said more than it was asked.
        """
        if self._frames or self._decoder.buffered_bytes or self._out or not self._greeted:
            raise breach("words where none belong")
        self._closed = True
        return self._connection

    def close(self) -> None:
        """End the connection; may be called again."""
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
            raise breach(f"more than {_MAX_STALE_BYTES} bytes, and no answer to our greeting")
        return b""


def _lost(error: OSError | None) -> PyroError:
    reason = "" if error is None else f" ({error.strerror})"
    return PyroError(
        ErrorCode.GUEST_LOST,
        f"the guest went away{reason}",
        hint="Ask for its status; its console may say why it ended.",
    )
