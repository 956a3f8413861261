"""Carry the streams of a command or task between the caller and a guest.

The guest can't send output faster than the caller accepts it. Every exchange is bounded by the request's timeout plus a
grace period and, for bulk data, by a minimum rate of progress.
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
    """A binary file. Without a descriptor, `read` may return None if no data is available yet."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return at most `size` bytes, b"" at the end."""
        ...

    def fileno(self) -> int:
        """Return its descriptor, or raise OSError if it has none."""
        ...

    def seekable(self) -> bool:
        """Return whether it is seekable; buffering may then have advanced its descriptor beyond its position."""
        ...


_CREDIT = struct.Struct(wire.CREDIT_FORMAT)
# A long stream gets a larger window and is acknowledged less often, since each acknowledgement wakes the agent.
_WINDOW_GROWTH_BYTES = 768 * 1024
_LATER_CREDIT_BYTES = 256 * 1024
# How long after the command's own timeout the agent may take to report its result.
GRACE_S = 10.0
CANCEL_GRACE_S = 5.0
# Less data than this within a request's `stall_s` does not count as progress.
PROGRESS_BYTES = 32 * 1024
# Our own share of handling a frame of output. Only time beyond it, spent by the caller's `on_output`, extends the
# deadline: otherwise a guest could postpone it by sending byte by byte.
_OUR_SHARE_S = 0.02
# Stdin is not read while this much of it is queued.
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
        """Encode the request. Nothing is sent yet.

        Raises:
            PyroError: INVALID if the request is too long for a frame.
        """
        self._body = request.body(stdin=stdin is not None)
        self._channel = channel
        self._request = request
        self._cancel = cancel
        self._cancelling = False
        #: Whether the command was killed because the caller cancelled it.
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
        """Start the timeout."""
        timeout_s = math.inf if self._request.timeout_s is None else self._request.timeout_s + GRACE_S
        self._bound = Bound(timeout_s, f"the guest to {self._request.what}")
        self._started_s = time.monotonic()
        self._watch_progress()

    def run(self) -> ExecResult:
        """Start the timeout, carry the streams until the result arrives, and return it."""
        self.begin()
        return self.finish()

    def finish(self) -> ExecResult:
        """Carry the streams until the result arrives, and return it."""
        self.carry(lambda: False)
        assert self._result is not None  # noqa: S101 - the loop ends with it
        return self._result

    def carry(self, is_enough: Callable[[], bool]) -> None:
        """Carry the streams until the result arrives, or `is_enough` returns True."""
        watch = nullcontext() if self._cancel is None else self._cancel.watch()
        with watch as wake_fd:
            try:
                # Frames may already have been received together with an earlier answer.
                while not self._received() and not is_enough():
                    self._step(wake_fd)
            except BaseException:
                # The command ends when the caller closes the connection; CANCEL only speeds that up.
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
                # There is no descriptor to poll, and the guest may send nothing until it has this input.
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
            self._bound.shorten(CANCEL_GRACE_S, f"the guest to confirm the cancellation ({self._request.what})")
        if stdin is not None and stdin.fd in ready:
            self._pump(stdin)

    def _received(self) -> bool:
        while self._result is None and (frame := self._channel.take()) is not None:
            self._receive(*frame)
        return self._result is not None

    def _takes(self, stdin: Pump) -> bool:
        return stdin.wanted and self._channel.unsent_bytes < _BACKLOG_BYTES

    def _pump(self, stdin: Pump) -> bool:
        """Pass on a piece of stdin; return whether there was one."""
        before = time.monotonic()
        data = stdin.read()
        self._excuse(time.monotonic() - before)
        if data is None:
            return False
        self._channel.queue(encode_stream(self._ident, wire.DATA, data) if data else encode(self._ident, wire.EOF))
        return True

    def _receive(self, ident: int, kind: int, body: bytes) -> None:
        if ident != self._ident:
            raise breach(f"a frame for the unknown request {ident}")
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
                raise breach("credit for data that was not sent")
            self._note_progress(count)
        else:
            raise breach(f"an unexpected frame of kind {kind} ({self._request.what})")

    def _take_output(self, receiver: Receiver, body: bytes) -> None:
        # The deadline also applies between frames that arrived together.
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
            self._stall = Bound(stall_s, f"progress ({self._request.what})")

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

    def _finish(self, claimed: Verdict) -> ExecResult:
        self.was_cancelled = claimed.cancelled and self._cancelling
        # The agent's measurement is more accurate, but it can't exceed our own waiting time.
        elapsed_ms = int((time.monotonic() - self._started_s) * 1000)
        return ExecResult(
            exit_code=claimed.exit_code,
            timed_out=claimed.timed_out,
            oom_killed=claimed.oom_killed,
            duration_ms=min(claimed.duration_ms, elapsed_ms),
            stdout_bytes=self._outputs[wire.STDOUT].received_bytes,
            stderr_bytes=self._outputs[wire.STDERR].received_bytes,
        )


class Receiver:
    """One stream of output to the caller, with its flow control."""

    def __init__(self, stream: Stream, number: int, on_output: OnOutput | None) -> None:
        self.number = number
        self.received_bytes = 0
        self._stream = stream
        self._on_output = on_output
        self._window = wire.WINDOW_BYTES
        self._growth_bytes, self._credit_bytes = _WINDOW_GROWTH_BYTES, wire.CREDIT_BYTES
        self._unacknowledged = 0

    def take(self, data: bytes) -> int:
        """Pass data to the caller, and return how many bytes to acknowledge now."""
        count = len(data)
        if count > self._window:
            raise breach(f"more data on {self._stream.value} than the window allows")
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
    """An empty stdin that stays open until it is released."""

    def __init__(self) -> None:
        self._released = False

    def release(self) -> None:
        """End the input."""
        self._released = True

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes | None:
        """Return b"" (end of file) once it is released, None (no data yet) before."""
        del size
        return b"" if self._released else None


class Pump:
    """The caller's stdin, with its flow control."""

    def __init__(self, source: Readable | int | bytes) -> None:
        #: The descriptor to poll before reading, or None.
        self.fd = _descriptor(source)
        self._source = source
        self._at = 0
        self._window = wire.WINDOW_BYTES
        self._unacknowledged = 0
        self._ended = False

    @property
    def wanted(self) -> bool:
        """Return whether there may be more input, and the window has room for it."""
        return not self._ended and self._window > 0

    def credit(self, count: int) -> bool:
        """Record that the guest has consumed `count` bytes; return False if they had not been sent."""
        if not 0 < count <= self._unacknowledged:
            return False
        self._unacknowledged -= count
        self._window += count
        return True

    def read(self) -> bytes | None:
        """Return more input, b"" at the end, or None if no data is available yet."""
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
                # A terminal that hung up, or a directory: treat it as the end of the input.
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
        # For example io.BytesIO, which raises a subclass of OSError.
        return None
