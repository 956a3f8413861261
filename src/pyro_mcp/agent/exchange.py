"""The streams of a command, or of a task, between a caller and a guest.

The guest's output never runs ahead of the caller, and every exchange ends: by the request's own timeout and a grace,
and, for bulk data, when too little of it moves.
"""

from __future__ import annotations

import io
import math
import os
import select
import struct
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol, TypeAlias

from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.channel import Bound, Channel
from pyro_mcp.agent.failures import failure_error
from pyro_mcp.agent.messages import (
    ExecRequest,
    ExecResult,
    Request,
    Stream,
    TaskRequest,
    Verdict,
    breach,
    decode,
    verdict,
)
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import encode, encode_stream

OnOutput = Callable[[Stream, bytes], None]
Input: TypeAlias = "Readable | int | bytes | None"


class Readable(Protocol):
    """A binary file. One without a descriptor may return None for nothing at the moment."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return at most `size` bytes, b"" at the end."""
        ...

    def fileno(self) -> int:
        """Return its descriptor, or raise OSError if it has none."""
        ...

    def seekable(self) -> bool:
        """Return whether it has a position, which its descriptor may be ahead of."""
        ...


_CREDIT = struct.Struct(wire.CREDIT_FORMAT)
# A stream that lasts gets a larger window, and is acknowledged less often: each time wakes the agent.
_WINDOW_GROWTH_BYTES = 768 * 1024
_LATER_CREDIT_BYTES = 256 * 1024
# How much longer than the command's own timeout the agent may take to say that it is over.
GRACE_S = 10.0
CANCEL_GRACE_S = 5.0
# Less than this within a request's `stall_s` is no progress.
PROGRESS_BYTES = 32 * 1024
# A frame of output takes us no longer than this: what does is the caller's reader, whose time does not count. A guest
# that sends byte by byte can't stretch its deadline with the work that this makes.
_OUR_SHARE_S = 0.02
# Stdin is not read while so much of it waits to be sent.
_BACKLOG_BYTES = wire.MAX_DATA_BYTES


class Exchange:
    """A command or a task, from the request to its result."""

    def __init__(
        self,
        channel: Channel,
        request: Request,
        *,
        stdin: Input,
        on_output: OnOutput | None,
        cancel: CancelToken | None,
    ) -> None:
        """Refuse what can't be said, before anything is.

        Raises:
            PyroError: INVALID if the request is too long for a frame.
        """
        self._body = request.body(stdin=stdin is not None)
        self._channel = channel
        self._request = request
        self._cancel = cancel
        self._cancelling = False
        #: The command was killed because the caller wanted it no more.
        self.was_cancelled = False
        self._stdin = None if stdin is None else Pump(stdin)
        self._outputs = {
            wire.STDOUT: Receiver(Stream.STDOUT, wire.STDOUT_STREAM, on_output),
            wire.STDERR: Receiver(Stream.STDERR, wire.STDERR_STREAM, on_output),
        }
        self._ident = 0
        self._bound = Bound(0, "")
        self._stall: Bound | None = None
        self._moved_bytes = 0
        self._started_s = 0.0
        self._result: ExecResult | None = None

    def ask(self, ident: int) -> None:
        """Queue the request."""
        self._ident = ident
        self._channel.queue(encode(ident, self._request.kind, self._body))

    def begin(self) -> None:
        """Let the time run in which the guest has to end it."""
        timeout_s = math.inf if self._request.timeout_s is None else self._request.timeout_s + GRACE_S
        self._bound = Bound(timeout_s, f"the guest to {self._request.what}")
        self._started_s = time.monotonic()
        self._watch_progress()

    def run(self) -> ExecResult:
        """Carry the streams until the result is there, and return it."""
        self.begin()
        return self.finish()

    def finish(self) -> ExecResult:
        """Go on carrying the streams until the result is there, and return it."""
        self.carry(lambda: False)
        assert self._result is not None  # noqa: S101 - the loop ends with it
        return self._result

    def carry(self, is_enough: Callable[[], bool]) -> None:
        """Carry the streams until the result is there, or it is enough for now."""
        watch = nullcontext() if self._cancel is None else self._cancel.watch()
        with watch as wake_fd:
            try:
                # Some of it may have come with the answer to something before.
                while not self._received() and not is_enough():
                    self._step(wake_fd)
            except BaseException:
                # Our connection ends with this, and the command with it; this makes it sooner.
                self._channel.queue(encode(self._ident, wire.CANCEL))
                self._channel.send_now()
                raise

    def _step(self, wake_fd: int | None) -> None:
        others: dict[int, int] = {}
        if wake_fd is not None and not self._cancelling:
            others[wake_fd] = select.POLLIN
        stdin = self._stdin
        if stdin is not None and self._takes(stdin):
            if stdin.fd is None:
                # Small pieces are all there is to wait for: the guest may say nothing before it has them.
                while self._takes(stdin) and self._pump(stdin):
                    continue
            else:
                others[stdin.fd] = select.POLLIN
        bound = self._bound
        if self._stall is not None and self._stall.end_s < bound.end_s:
            bound = self._stall
        ready = self._channel.wait(bound, others)
        if wake_fd is not None and wake_fd in ready:
            self._cancelling = True
            self._channel.queue(encode(self._ident, wire.CANCEL))
            self._bound.shorten(CANCEL_GRACE_S, f"the guest to {self._request.what}, or not, after that was cancelled")
        if stdin is not None and stdin.fd in ready:
            self._pump(stdin)

    def _received(self) -> bool:
        while self._result is None and (frame := self._channel.take()) is not None:
            self._receive(*frame)
        return self._result is not None

    def _takes(self, stdin: Pump) -> bool:
        return stdin.wanted and self._channel.unsent_bytes < _BACKLOG_BYTES

    def _pump(self, stdin: Pump) -> bool:
        """Pass on a piece; say whether there was one."""
        before = time.monotonic()
        data = stdin.read()
        self._excuse(time.monotonic() - before)
        if data is None:
            return False
        self._channel.queue(encode_stream(self._ident, wire.DATA, data) if data else encode(self._ident, wire.EOF))
        return True

    def _receive(self, ident: int, kind: int, body: bytes) -> None:
        if ident != self._ident:
            raise breach(f"a frame for {ident}, which was not asked")
        receiver = self._outputs.get(kind)
        if receiver is not None:
            self._take_output(receiver, body)
        elif kind == wire.RESULT:
            self._result = self._finish(verdict(decode(body)))
        elif kind == wire.FAILURE:
            request = self._request
            raise failure_error(decode(body), request.what, request if isinstance(request, ExecRequest) else None)
        elif kind == wire.CREDIT and len(body) == wire.CREDIT_BODY_BYTES and self._stdin is not None:
            stream, count = _CREDIT.unpack(body)
            if stream != wire.STDIN_STREAM or not self._stdin.credit(count):
                raise breach("credit for what was not sent")
            self._note_progress(count)
        else:
            raise breach(f"a frame of kind {kind} while it was to {self._request.what}")

    def _take_output(self, receiver: Receiver, body: bytes) -> None:
        # Also where many frames came at once.
        self._bound.remaining_s()
        before = time.monotonic()
        credit = receiver.take(body)
        self._excuse(time.monotonic() - before - _OUR_SHARE_S)
        self._note_progress(len(body))
        if credit:
            self._channel.queue(encode(self._ident, wire.CREDIT, _CREDIT.pack(receiver.number, credit)))

    def _watch_progress(self) -> None:
        stall_s = self._request.stall_s if isinstance(self._request, TaskRequest) else None
        if stall_s is not None:
            self._moved_bytes = 0
            self._stall = Bound(stall_s, f"progress while the guest was to {self._request.what}")

    def _note_progress(self, count: int) -> None:
        self._moved_bytes += count
        if self._stall is not None and self._moved_bytes >= PROGRESS_BYTES:
            self._watch_progress()

    def _excuse(self, seconds: float) -> None:
        """Do not count the caller's own time against the guest."""
        if seconds > 0:
            self._bound.extend(seconds)
            if self._stall is not None:
                self._stall.extend(seconds)

    def _finish(self, said: Verdict) -> ExecResult:
        self.was_cancelled = said.cancelled and self._cancelling
        # The agent's measure is the better one, but it can't have taken longer than we waited.
        elapsed_ms = int((time.monotonic() - self._started_s) * 1000)
        return ExecResult(
            exit_code=said.exit_code,
            timed_out=said.timed_out,
            oom_killed=said.oom_killed,
            duration_ms=min(said.duration_ms, elapsed_ms),
            stdout_bytes=self._outputs[wire.STDOUT].received_bytes,
            stderr_bytes=self._outputs[wire.STDERR].received_bytes,
        )


class Receiver:
    """One stream of output, on its way to the caller."""

    def __init__(self, stream: Stream, number: int, on_output: OnOutput | None) -> None:
        self.number = number
        self.received_bytes = 0
        self._stream = stream
        self._on_output = on_output
        self._window = wire.WINDOW_BYTES
        self._growth_bytes, self._credit_bytes = _WINDOW_GROWTH_BYTES, wire.CREDIT_BYTES
        self._unacknowledged = 0

    def take(self, data: bytes) -> int:
        """Hand data to the caller, and return how many bytes to acknowledge now."""
        count = len(data)
        if count > self._window:
            raise breach(f"more of {self._stream.value} than it was given room for")
        self._window -= count
        self.received_bytes += count
        if self._on_output is not None and data:
            self._on_output(self._stream, data)
        self._unacknowledged += count
        if self._unacknowledged < self._credit_bytes:
            return 0
        credit, self._unacknowledged = self._unacknowledged + self._growth_bytes, 0
        self._growth_bytes, self._credit_bytes = 0, _LATER_CREDIT_BYTES
        self._window += credit
        return credit


class HeldInput(io.RawIOBase):
    """An empty stdin that ends when it is released, not before."""

    def __init__(self) -> None:
        self._released = False

    def release(self) -> None:
        """Let it end."""
        self._released = True

    def readable(self) -> bool:
        """Say yes."""
        return True

    def read(self, size: int = -1, /) -> bytes | None:
        """Return b"" once it is released, and None, for nothing at the moment, before."""
        del size
        return b"" if self._released else None


class Pump:
    """The caller's stdin, on its way to the guest."""

    def __init__(self, source: Readable | int | bytes) -> None:
        #: The descriptor to wait for before reading, if there is one.
        self.fd = _descriptor(source)
        self._source = source
        self._at = 0
        self._window = wire.WINDOW_BYTES
        self._unacknowledged = 0
        self._ended = False

    @property
    def wanted(self) -> bool:
        """Say whether there may be more to read, and room for it."""
        return not self._ended and self._window > 0

    def credit(self, count: int) -> bool:
        """Take note that the guest has taken `count` bytes; say whether they had been sent."""
        if not 0 < count <= self._unacknowledged:
            return False
        self._unacknowledged -= count
        self._window += count
        return True

    def read(self) -> bytes | None:
        """Return more, b"" at the end, or None if there is nothing at the moment."""
        data = self._read(min(self._window, wire.MAX_DATA_BYTES))
        if data is None:
            return None
        self._window -= len(data)
        self._unacknowledged += len(data)
        self._ended = not data
        return data

    def _read(self, count: int) -> bytes | None:
        if self.fd is not None:
            try:
                return os.read(self.fd, count)
            except BlockingIOError:
                return None
            except OSError:
                # A terminal that went away, a directory: there is no more input in it.
                return b""
        if isinstance(self._source, bytes):
            data = self._source[self._at : self._at + count]
            self._at += len(data)
            return data
        return b"" if isinstance(self._source, int) else self._source.read(count)


def _descriptor(source: Readable | int | bytes) -> int | None:
    if isinstance(source, int):
        return source
    if isinstance(source, bytes):
        return None
    try:
        return None if source.seekable() else source.fileno()
    except OSError:
        # Such as io.BytesIO, which says so with a subclass of OSError.
        return None
