"""One command of one session, from its launch to its result.

Owns the flow of its three streams, within the windows that the host gives, its deadline, and its end. Refuses to keep
more of its output than fits into the windows.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING

from pyro_mcp.guest.loop import WRITABLE
from pyro_mcp.guest.process import failure_of, launch, linger
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import encode

if TYPE_CHECKING:
    from pyro_mcp.guest.lane import Lane
    from pyro_mcp.guest.loop import Deadline, Loop
    from pyro_mcp.guest.process import Process
    from pyro_mcp.guest.session import Session
    from pyro_mcp.guest.spawner import Command

_CREDIT = struct.Struct(wire.CREDIT_FORMAT)
# After a command has ended, what it left running may still be writing its last words.
_LAST_WORDS_S = 0.1
_KILLED = 128 + signal.SIGKILL


class Output:
    """One of the two streams that a command writes."""

    __slots__ = ("_execution", "_fd", "_kind", "_owed_bytes", "_paused", "_window", "closed", "sent_bytes")

    def __init__(self, execution: Execution, fd: int, kind: int) -> None:
        self._execution = execution
        self._fd = fd
        self._kind = kind
        self._window = wire.WINDOW_BYTES
        self._paused = False
        self._owed_bytes = 0
        self.closed = False
        self.sent_bytes = 0
        execution.loop.add(fd, self._on_event)

    @property
    def is_settled(self) -> bool:
        """Say whether all that the command itself has written is sent."""
        return self.closed or not self._owed_bytes

    def credit(self, count: int) -> None:
        """Take note that the host can take `count` bytes more."""
        self._window += count
        self._resume()

    def drain(self) -> None:
        """Send what is there now, as far as the host takes it; the rest is owed."""
        while not self.closed and (room := self._room()):
            try:
                self._send(os.read(self._fd, room))
            except BlockingIOError:
                return
        if not self.closed:
            self._owed_bytes = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def close(self) -> None:
        """Read no more."""
        if not self.closed:
            self.closed = True
            if not self._paused:
                self._execution.loop.remove(self._fd)

    def _room(self) -> int:
        if self._execution.lane.is_congested:
            return 0
        return min(self._window, wire.MAX_DATA_BYTES)

    def _resume(self) -> None:
        if not self._paused or self.closed or not self._window:
            return
        if self._execution.lane.is_congested:
            self._execution.lane.call_when_drained(self._resume)
            return
        self._paused = False
        self._execution.loop.add(self._fd, self._on_event)

    def _on_event(self, mask: int) -> None:
        del mask
        room = self._room()
        if not room:
            self._paused = True
            self._execution.loop.remove(self._fd)
            self._resume()
            return
        try:
            self._send(os.read(self._fd, room))
        except BlockingIOError:
            return
        self._execution.settle()

    def _send(self, data: bytes) -> None:
        if not data:
            self.close()
            return
        count = len(data)
        self._window -= count
        self.sent_bytes += count
        self._owed_bytes = max(0, self._owed_bytes - count)
        self._execution.send(self._kind, data)


class Input:
    """The stream that a command reads."""

    __slots__ = ("_acknowledged", "_eof", "_execution", "_fd", "_pending", "_waiting", "_written")

    def __init__(self, execution: Execution, fd: int) -> None:
        self._execution = execution
        self._fd = fd
        self._pending: list[bytes] = []
        self._waiting = False
        self._eof = False
        self._written = 0
        self._acknowledged = 0

    def write(self, data: bytes) -> None:
        """Pass on what the host sent; a command that reads no more loses it."""
        if self._fd >= 0 and not self._eof:
            self._pending.append(data)
            self._flush()

    def end(self) -> None:
        """Let the command see the end of its input when it has read all of it."""
        self._eof = True
        self._flush()

    def close(self) -> None:
        """Forget what was not read. The descriptor is the process's."""
        if self._waiting:
            self._waiting = False
            self._execution.loop.remove(self._fd)
        self._pending.clear()
        self._fd = -1

    def _on_event(self, mask: int) -> None:
        del mask
        self._flush()

    def _flush(self) -> None:
        if self._fd < 0:
            return
        try:
            while self._pending:
                data = self._pending[0]
                count = os.write(self._fd, data)
                self._written += count
                if count == len(data):
                    self._pending.pop(0)
                else:
                    self._pending[0] = data[count:]
        except BlockingIOError:
            if not self._waiting:
                self._waiting = True
                self._execution.loop.add(self._fd, self._on_event, WRITABLE)
            self._acknowledge()
            return
        except BrokenPipeError:
            # Nobody reads it: take all that comes, so that the host is not left waiting for credit.
            self._written += sum(map(len, self._pending))
            self._pending.clear()
        if self._waiting:
            self._waiting = False
            self._execution.loop.remove(self._fd)
        self._acknowledge()
        if self._eof:
            self.close()
            self._execution.process.pipes.close("stdin")

    def _acknowledge(self) -> None:
        fresh = self._written - self._acknowledged
        if fresh >= wire.CREDIT_BYTES:
            self._acknowledged = self._written
            self._execution.send(wire.CREDIT, _CREDIT.pack(wire.STDIN_STREAM, fresh))


class Execution:
    """A command that runs for a session."""

    def __init__(self, session: Session, ident: int, process: Process, command: Command) -> None:
        self.session = session
        self.lane: Lane = session.lane
        self.loop: Loop = session.loop
        self.process = process
        self.is_last = False
        self._ident = ident
        self._started_s = time.monotonic()
        self._deadline: Deadline | None = None
        self._timed_out = False
        self._cancelled = False
        self._code: int | None = None
        # The time for what the command left running to write its last words is over.
        self._waited = False
        self._finished = False
        launch(process, command)
        pipes = process.pipes
        self.stdin = Input(self, pipes.stdin)
        self._stdout = Output(self, pipes.stdout, wire.STDOUT)
        self._stderr = Output(self, pipes.stderr, wire.STDERR)
        self.loop.add(process.exit_fd, self._on_exit)

    def set_deadline(self, timeout_s: float) -> None:
        """Kill the command when it has run for so long."""
        self._deadline = self.loop.at(timeout_s, self._on_timeout)

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame of this command."""
        self.lane.send(encode(self._ident, kind, body))

    def credit(self, stream: int, count: int) -> None:
        """Take note that the host can take more of one stream."""
        if stream == wire.STDOUT_STREAM:
            self._stdout.credit(count)
        elif stream == wire.STDERR_STREAM:
            self._stderr.credit(count)

    def cancel(self) -> None:
        """Kill the command; its result says so."""
        self._cancelled = True
        self.process.kill()

    def abandon(self) -> None:
        """Kill the command and forget it: there is nobody left to be told."""
        self._finished = True
        self._cancel_deadline()
        self.process.kill()
        if self._code is None:
            self.loop.remove(self.process.exit_fd)
        self.stdin.close()
        self._release()

    def settle(self) -> None:
        """Finish, if the command has ended and all it wrote is on its way."""
        if self._code is None or self._finished:
            return
        outputs = (self._stdout, self._stderr)
        if all(output.closed for output in outputs) or (self._waited and all(output.is_settled for output in outputs)):
            self._finish()

    def _on_timeout(self) -> None:
        self._deadline = None
        self._timed_out = True
        self.process.kill()

    def _on_last_words(self) -> None:
        self._deadline = None
        self._waited = True
        self.settle()

    def _on_exit(self, mask: int) -> None:
        del mask
        self.loop.remove(self.process.exit_fd)
        self._code = self.process.status()
        self._cancel_deadline()
        self.stdin.close()
        # Only now do the streams end when nobody else holds them.
        self.process.pipes.close("stdout_theirs", "stderr_theirs")
        self._stdout.drain()
        self._stderr.drain()
        self.settle()
        if not self._finished:
            self._deadline = self.loop.at(_LAST_WORDS_S, self._on_last_words)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self.loop.cancel(self._deadline)
            self._deadline = None

    def _finish(self) -> None:
        self._finished = True
        self._cancel_deadline()
        failure = failure_of(self.process)
        if failure is not None:
            self.session.fail(self._ident, failure)
        else:
            self.session.reply(self._ident, self._result())
        self.session.forget(self._ident, expect_more=not self.is_last)
        self._release()

    def _result(self) -> dict[str, object]:
        code = self._code
        killed = self._timed_out or self._cancelled
        return {
            "exit_code": code,
            "timed_out": self._timed_out,
            "cancelled": self._cancelled,
            "oom_killed": code == _KILLED and not killed and self.process.ran_out_of_memory(),
            "duration_ms": int((time.monotonic() - self._started_s) * 1000),
            "stdout_bytes": self._stdout.sent_bytes,
            "stderr_bytes": self._stderr.sent_bytes,
        }

    def _release(self) -> None:
        lingering = [output for output in (self._stdout, self._stderr) if not output.closed]
        for output in lingering:
            output.close()
        if lingering:
            self.loop.later(lambda: linger(self.loop, self.process))
        else:
            self.loop.later(self.process.close)
