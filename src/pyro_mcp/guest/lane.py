"""A lane: a byte stream between host and agent, with the session that it currently carries.

Writes never block. A virtio port is not connection-oriented: it stays open when the other end is closed, so a session
begins with a magic that can't occur in session data (`frames.encode_stream` sees to that). The driver returns each of
the host's writes from its start, so the magic is always at the start of a read, even if a frame was cut off before it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from pyro_mcp.guest.console import log
from pyro_mcp.guest.operations import Operations
from pyro_mcp.guest.session import Session
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import Decoder, FrameError
from pyro_mcp.protocol.loop import GONE, ON_EDGE, READABLE, WRITABLE, Deadline, Loop

# virtio_console returns a page per read, and accepts at most _WRITE_BYTES per write.
_PAGE_BYTES = 4096
# Pages that follow a full one are read several at a time, into a buffer that all lanes share.
_PAGES = 16
_BUFFER = bytearray(_PAGES * _PAGE_BYTES)
_BUFFER_VIEW = memoryview(_BUFFER)
_BUFFER_PAGES = [_BUFFER_VIEW[at : at + _PAGE_BYTES] for at in range(0, len(_BUFFER), _PAGE_BYTES)]
_WRITE_BYTES = 32768
_CONNECTION_BYTES = 65536
_REST_S = 0.001
# Commands' output is not read while this much is queued for the host.
_CONGESTED_BYTES = 256 * 1024
# How long the kernel may take to report that a host is connected.
_DOUBT_S = 2.0
_MAGIC_BYTES = len(wire.LANE_MAGIC)


class Lane:
    """A virtio port, or (`is_connection`) an accepted connection, which carries a single session.

    A port without a host permanently reports a hang-up, so it is watched edge-triggered until a host connects, and each
    event must read everything available. With a host it is level-triggered, and one read per event suffices.
    """

    def __init__(self, fd: int, loop: Loop, operations: Operations, *, is_connection: bool) -> None:
        self._fd = fd
        self._loop = loop
        self._operations = operations
        self._is_connection = is_connection
        self._read_bytes = _CONNECTION_BYTES if is_connection else _PAGE_BYTES
        self._session: Session | None = None
        self._decoder = Decoder(wire.HOST_LIMITS)
        # The first bytes of a connection, until there are enough for the magic.
        self._first = b""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._when_drained: list[Callable[[], None]] = []
        self._flush_planned = False
        self._blocked = False
        self._resting = False
        self._has_host = is_connection
        # Set while the current session began before the kernel reported a host.
        self._doubt: Deadline | None = None
        os.set_blocking(fd, False)
        loop.add(fd, self._on_event, self._mask())

    @property
    def is_congested(self) -> bool:
        """Return whether the host is so slow that no more data should be queued for it."""
        return self._out_bytes >= _CONGESTED_BYTES

    def send(self, data: bytes) -> None:
        """Queue bytes; they are written once the current events are handled."""
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._flush_planned and not self._blocked:
            self._flush_planned = True
            self._loop.flush_soon(self._flush)

    def call_when_drained(self, call: Callable[[], None]) -> None:
        """Call `call` once, when the lane is no longer congested."""
        self._when_drained.append(call)

    def close(self) -> None:
        """End the session and close the descriptor."""
        self._is_connection = True
        self._end_session()

    def _mask(self) -> int:
        mask = READABLE if self._has_host else READABLE | ON_EDGE
        if self._resting:
            # A hang-up is reported regardless.
            mask &= ~READABLE
        return mask | WRITABLE if self._blocked else mask

    def _on_event(self, mask: int) -> None:
        if mask & GONE:
            self._on_gone()
            return
        if not self._has_host:
            self._has_host = True
            self._end_doubt()
            self._loop.change(self._fd, self._mask())
        if mask & WRITABLE:
            self._unblock()
        if mask & READABLE:
            # A full read suggests that there is more.
            asked = self._read_bytes
            while self._read_once(asked) == asked:
                if not self._is_connection:
                    asked = len(_BUFFER)
            if not self._is_connection and self._decoder.missing_bytes > _PAGE_BYTES:
                self._rest()

    def _rest(self) -> None:
        """Pause reading so that more of a long frame arrives: otherwise each page would wake the agent."""
        self._resting = True
        self._loop.change(self._fd, self._mask())
        self._loop.at(_REST_S, self._rise)

    def _rise(self) -> None:
        if self._fd >= 0:
            self._resting = False
            self._loop.change(self._fd, self._mask())

    def _on_gone(self) -> None:
        if self._is_connection:
            self._end_session()
            return
        if self._has_host:
            self._has_host = False
            self._end_session()
            self._loop.change(self._fd, self._mask())
        # The host's first bytes can arrive before the event that reports its connection.
        while self._read_once(self._read_bytes):
            continue
        if self._session is not None and self._doubt is None:
            self._doubt = self._loop.at(_DOUBT_S, self._resolve_doubt)

    def _resolve_doubt(self) -> None:
        """End a session that began without a host, if there is still none: no further edge would report that."""
        self._doubt = None
        poll = select.poll()
        poll.register(self._fd, 0)
        if poll.poll(0):
            self._end_session()

    def _end_doubt(self) -> None:
        # Otherwise this deadline would expire while a later session is in doubt, and end that one.
        if self._doubt is not None:
            self._loop.cancel(self._doubt)
            self._doubt = None

    def _read_once(self, size: int) -> int:
        """Read once, process the data, and return its length.

        A read of several pages stops after a page that is not full, just like a read of one page, so each of the host's
        writes starts at a page boundary.
        """
        try:
            if size == len(_BUFFER):
                data = bytes(_BUFFER_VIEW[: os.readv(self._fd, _BUFFER_PAGES)])
            else:
                data = os.read(self._fd, size)
        except BlockingIOError:
            return 0
        except OSError as error:
            # The port is being unplugged, or the connection was reset.
            self._log(f"reading failed: {error}")
            data = b""
        if not data:
            if self._is_connection:
                self._end_session()
            return 0
        self._take_all(data)
        return len(data) if self._fd >= 0 else 0

    def _take_all(self, data: bytes) -> None:
        """Process the data of one read, in which a new session can begin only at a page boundary."""
        if not self._is_connection and len(data) > _PAGE_BYTES:
            found = data.find(wire.LANE_MAGIC, _PAGE_BYTES)
            while found >= 0:
                if found % _PAGE_BYTES == 0:
                    self._take(data[:found])
                    data = data[found:]
                    found = 0
                found = data.find(wire.LANE_MAGIC, found + _PAGE_BYTES)
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._is_connection:
            if self._session is None:
                data = self._first = self._first + data
                if len(data) < _MAGIC_BYTES:
                    return
                self._first = b""
                if not data.startswith(wire.LANE_MAGIC):
                    self._log("a connection without the magic")
                    self._end_session()
                    return
                data = self._begin_session(data)
        elif data.startswith(wire.LANE_MAGIC):
            if self._session is not None:
                self._end_session()
            data = self._begin_session(data)
        session = self._session
        if session is None:
            return
        try:
            for ident, kind, body in self._decoder.feed(data):
                session.receive(ident, kind, body)
        except FrameError as error:
            self._log(str(error))
            self._end_session()

    def _begin_session(self, data: bytes) -> bytes:
        self._decoder = Decoder(wire.HOST_LIMITS)
        self._session = Session(self, self._loop, self._operations)
        return data[_MAGIC_BYTES:]

    def _end_session(self) -> None:
        session, self._session = self._session, None
        self._end_doubt()
        if session is not None:
            session.close()
        self._out.clear()
        self._out_bytes = 0
        self._when_drained.clear()
        if self._is_connection:
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                self._loop.remove(fd)
                os.close(fd)
        elif self._blocked:
            self._blocked = False
            self._loop.change(self._fd, self._mask())

    def _flush(self) -> None:
        self._flush_planned = False
        out = self._out
        if not out or self._fd < 0:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        try:
            sent = self._write(data)
        except OSError as error:
            self._log(f"writing failed: {error}")
            self._end_session()
            return
        self._out_bytes = len(data) - sent
        if self._out_bytes:
            out.append(data[sent:])
        if self._when_drained and not self.is_congested:
            calls, self._when_drained = self._when_drained, []
            for call in calls:
                call()

    def _write(self, data: bytes) -> int:
        """Write as much as the host accepts, and return its length."""
        size, sent = len(data), 0
        try:
            if size <= _WRITE_BYTES:
                sent = os.write(self._fd, data)
            while sent < size:
                sent += os.write(self._fd, memoryview(data)[sent : sent + _WRITE_BYTES])
        except BlockingIOError:
            self._blocked = True
            self._loop.change(self._fd, self._mask())
        return sent

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.change(self._fd, self._mask())
            self._flush()

    def _log(self, text: str) -> None:
        log(f"lane {self._fd}: {text}")
