"""One command or task, from its prepared process to its result.

Output is read only as far as the host's flow control windows permit. An `Execution` is created, and its descriptors are
registered, together with its process, before any request.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pyro_mcp.guest.processes.process import failure_of, launch, linger, never_read_request
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.frames import encode
from pyro_mcp.protocol.loop import WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.conversation import Conversation, Outlet
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.protocol.loop import Deadline, Loop

_EXEC = struct.Struct(wire.EXEC_FORMAT)
_CREDIT = struct.Struct(wire.CREDIT_FORMAT)
# After a command has ended, its background processes get this long to finish their output.
_DRAIN_S = 0.1
# A command that writes again within this time is not read for as long, so that its output is collected. Its pipe is
# enlarged first: a full one would block the command.
_REST_S = 0.004
_SHORT_REST_S = 0.001
_SMALL_BYTES = 4096
_PIPE_BYTES = 512 * 1024
_KILLED = 128 + signal.SIGKILL
# Formatted by hand: every command sends one.
_RESULT = (
    b'{"exit_code":%d,"timed_out":%b,"cancelled":%b,"oom_killed":%b'
    b',"duration_ms":%d,"stdout_bytes":%d,"stderr_bytes":%d}'
)
_JSON_BOOL = (b"false", b"true")


class Output:
    """One of the two streams that a command writes."""

    __slots__ = (
        "_execution",
        "_is_wide",
        "_kind",
        "_owed_bytes",
        "_paused",
        "_read_s",
        "_window",
        "closed",
        "fd",
        "sent_bytes",
    )

    def __init__(self, execution: Execution, fd: int, kind: int) -> None:
        self.fd = fd
        self.closed = False
        self.sent_bytes = 0
        self._execution = execution
        self._kind = kind
        self._window = wire.WINDOW_BYTES
        self._paused = False
        self._owed_bytes = 0
        self._read_s = 0.0
        self._is_wide = False
        execution.loop.add(fd, self._on_event)

    @property
    def is_settled(self) -> bool:
        """Return whether everything that the command itself wrote has been sent."""
        return self.closed or not self._owed_bytes

    def credit(self, count: int) -> None:
        """Record that the host accepts `count` more bytes."""
        self._window += count
        self._resume()

    def drain(self) -> None:
        """Send the available output as far as the host accepts it; the rest is owed."""
        while not self.closed:
            room = self._room()
            if not room:
                break
            try:
                self._send(os.read(self.fd, room))
            except BlockingIOError:
                return
        if not self.closed:
            self._owed_bytes = int.from_bytes(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def stop(self) -> None:
        """Stop reading."""
        self.closed = True
        self._execution.loop.remove(self.fd)

    def stop_if_closed(self) -> None:
        """Stop watching the stream if it has ended."""
        if self.closed:
            self._execution.loop.remove(self.fd)

    def _room(self) -> int:
        if self._execution.lane.is_congested:
            return 0
        return self._window if self._window < wire.MAX_DATA_BYTES else wire.MAX_DATA_BYTES

    def _resume(self) -> None:
        if not self._paused or self.closed or not self._window:
            return
        if self._execution.lane.is_congested:
            self._execution.lane.call_when_drained(self._resume)
            return
        self._paused = False
        self._execution.loop.add(self.fd, self._on_event)

    def _on_event(self, mask: int) -> None:
        del mask
        room = self._room()
        if not room:
            self._paused = True
            self._execution.loop.remove(self.fd)
            self._resume()
            return
        sent_bytes = self.sent_bytes
        with suppress(BlockingIOError):
            while room and not self.closed:
                self._send(os.read(self.fd, room))
                if self.sent_bytes - sent_bytes < _SMALL_BYTES:
                    break
                room = self._room()
        self.stop_if_closed()
        self._execution.settle()
        if room and not self.closed:
            now = time.monotonic()
            if now - self._read_s < 2 * _REST_S:
                self._rest(_REST_S if self.sent_bytes - sent_bytes < _SMALL_BYTES else _SHORT_REST_S)
            self._read_s = now

    def _rest(self, rest_s: float) -> None:
        """Stop reading for a while: otherwise each of the command's small writes would wake the agent."""
        if not self._is_wide:
            self._is_wide = True
            with suppress(OSError):  # on a host, the user's limit for pipe memory may be exhausted
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._execution.loop.remove(self.fd)
        self._execution.loop.at(rest_s, self._end_rest)

    def _end_rest(self) -> None:
        if not self.closed:
            self._paused = True
            self._resume()

    def _send(self, data: bytes) -> None:
        if not data:
            self.closed = True
            return
        count = len(data)
        self._window -= count
        self.sent_bytes += count
        if self._owed_bytes:
            self._owed_bytes = max(0, self._owed_bytes - count)
        self._execution.send(self._kind, data)


class Input:
    """The stream that a command reads."""

    __slots__ = ("_acknowledged", "_closed", "_eof", "_execution", "_pending", "_waiting", "_written")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._pending: list[bytes] = []
        self._waiting = False
        self._eof = False
        self._closed = False
        self._written = 0
        self._acknowledged = 0

    @property
    def is_untouched(self) -> bool:
        """Return whether the host has sent no input yet."""
        return not self._written and not self._pending and not self._eof

    def write(self, data: bytes) -> None:
        """Pass on the host's data; it is discarded once the command has closed its stdin."""
        if not self._closed and not self._eof:
            self._pending.append(data)
            self._flush()

    def end(self) -> None:
        """End the command's input after the data sent so far."""
        self._eof = True
        self._flush()

    def close(self) -> None:
        """Discard unread input. The descriptor stays with the process."""
        self._closed = True
        if self._waiting:
            self._waiting = False
            self._execution.loop.remove(self._execution.process.pipes.stdin)
        self._pending.clear()

    def break_off(self) -> None:
        """End the command's input early, discarding what was not written yet."""
        self.close()
        self._execution.process.pipes.close("stdin")

    def _on_event(self, mask: int) -> None:
        del mask
        self._flush()

    def _flush(self) -> None:
        if self._closed:
            return
        fd = self._execution.process.pipes.stdin
        try:
            while self._pending:
                data = self._pending[0]
                count = os.write(fd, data)
                self._written += count
                if count == len(data):
                    self._pending.pop(0)
                else:
                    self._pending[0] = data[count:]
        except BlockingIOError:
            if not self._waiting:
                self._waiting = True
                self._execution.loop.add(fd, self._on_event, WRITABLE)
            self._acknowledge()
            return
        except BrokenPipeError:
            # The command closed its stdin: discard and acknowledge everything, so that the host never waits for credit.
            self._written += sum(map(len, self._pending))
            self._pending.clear()
        if self._waiting:
            self._waiting = False
            self._execution.loop.remove(fd)
        self._acknowledge()
        if self._eof:
            self._closed = True
            self._execution.process.pipes.close("stdin")

    def _acknowledge(self) -> None:
        fresh = self._written - self._acknowledged
        if fresh >= wire.CREDIT_BYTES:
            self._acknowledged = self._written
            self._execution.send(wire.CREDIT, _CREDIT.pack(wire.STDIN_STREAM, fresh))


class Execution:
    """A prepared process, and from `begin` on its command."""

    lane: Outlet
    _session: Conversation

    def __init__(self, loop: Loop, process: Process, on_unused_end: Callable[[Execution], None]) -> None:
        self.loop = loop
        self.process = process
        self._is_last = False
        self._is_task = False
        # Not to be killed once it has all of its input; without all of it, it changes nothing.
        self._finishes = False
        self._on_unused_end = on_unused_end
        self._ident = 0
        self._body = b""
        self._begun = False
        self._started_s = 0.0
        self._deadline: Deadline | None = None
        self._timed_out = False
        self._cancelled = False
        self._code: int | None = None
        # The time that background processes had to finish their output is over.
        self._waited = False
        self._finished = False
        pipes = process.pipes
        self.stdin = Input(self)
        self._stdout = Output(self, pipes.stdout, wire.STDOUT)
        self._stderr = Output(self, pipes.stderr, wire.STDERR)
        loop.add(process.exit_fd, self._on_exit)

    def surrender(self) -> Process:
        """Stop watching the unused process, and return it to a caller who uses it in another way."""
        for fd in (self.process.exit_fd, self.process.pipes.stdout, self.process.pipes.stderr):
            self.loop.remove(fd)
        return self.process

    def begin(self, session: Conversation, ident: int, body: bytes) -> None:
        """Run the command of an EXEC frame for a session.

        Raises:
            RefusalError: if the command is too long. The execution can't be used afterwards.
            BrokenPipeError: if the process has died. The caller may retry with another one.
        """
        self.lane = session.lane
        self._session = session
        self._ident = ident
        self._body = body
        self._begun = True
        self._started_s = time.monotonic()
        launch(self.process, body)
        timeout_ms, flags, _, _ = _EXEC.unpack_from(body)
        self._is_last = flags & wire.EXEC_LAST != 0
        if timeout_ms:
            self._deadline = self.loop.at(timeout_ms / 1000, self._on_timeout)

    def begin_task(self, session: Conversation, ident: int, body: bytes) -> None:
        """Run the task of a TASK frame for a session.

        Raises:
            RefusalError, BrokenPipeError: as `begin`.
        """
        self.lane = session.lane
        self._session = session
        self._ident = ident
        self._begun = self._is_task = True
        self._started_s = time.monotonic()
        timeout_ms, flags = tasks.TASK.unpack_from(body)
        launch(self.process, body)
        if not flags & tasks.FREEZES:
            # The streams then end once the task has answered, before its process exits, so nobody waits for the exit.
            # A task that freezes the workspace is different: the workload continues only after its exit.
            self.process.pipes.close_theirs()
        self._finishes = flags & tasks.FINISHES != 0
        if timeout_ms:
            self._deadline = self.loop.at(timeout_ms / 1000, self._on_timeout)

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame of this command."""
        self.lane.send(encode(self._ident, kind, body))

    def credit(self, stream: int, count: int) -> None:
        """Record that the host accepts `count` more bytes of one stream."""
        if stream == wire.STDOUT_STREAM:
            self._stdout.credit(count)
        elif stream == wire.STDERR_STREAM:
            self._stderr.credit(count)

    def cancel(self) -> None:
        """Kill the command; its result is marked as cancelled."""
        if self._finishes:
            self.stdin.break_off()
            return
        self._cancelled = True
        self.process.kill()

    def abandon(self) -> None:
        """Kill the command without answering: the session has ended."""
        if not self._finished:
            self._finished = True
            self._stdout.stop()
            self._stderr.stop()
            if self._finishes and self._code is None:
                # Its timeout still applies.
                self.stdin.break_off()
                return
            self._cancel_deadline()
            self.stdin.close()
            # It may take a while to die; `_on_exit` cleans up afterwards.
            self.process.kill()

    def settle(self) -> None:
        """Finish if the command has ended and all its output is sent."""
        out, err = self._stdout, self._stderr
        if self._finished or (self._code is None and not self._has_answered()):
            return
        if (out.closed and err.closed) or (self._waited and out.is_settled and err.is_settled):
            self._finish()

    def _has_answered(self) -> bool:
        """Return whether this is a task that has sent its complete answer and is about to exit."""
        return self._is_task and self._stdout.closed and self._stderr.closed and self._stderr.sent_bytes > 0

    def _on_timeout(self) -> None:
        self._deadline = None
        self._timed_out = True
        self.process.kill()

    def _on_drained(self) -> None:
        self._deadline = None
        self._waited = True
        self.settle()

    def _on_exit(self, mask: int) -> None:
        del mask
        self._code = self.process.status()
        if self._finished or not self._begun:
            if not self._begun:
                self._on_unused_end(self)
            self._cancel_deadline()
            self._clean_up()
            return
        self._cancel_deadline()
        if self._code == _KILLED and not self._is_task and self._never_was_a_command():
            self.abandon()
            self.loop.later(self._clean_up)
            self._session.execute_again(self._ident, self._body)
            return
        self.stdin.close()
        # Without these copies, the streams end when no other process has them open.
        self.process.pipes.close_theirs()
        self._stdout.drain()
        self._stderr.drain()
        self.settle()
        if not self._finished:
            # A descriptor that stays readable would keep the loop awake.
            self.loop.remove(self.process.exit_fd)
            self._stdout.stop_if_closed()
            self._stderr.stop_if_closed()
            self._deadline = self.loop.at(_DRAIN_S, self._on_drained)

    def _never_was_a_command(self) -> bool:
        """Return whether the workload killed the process before it read its request, so that it can be retried."""
        wanted = not self._timed_out and not self._cancelled and self.stdin.is_untouched
        return wanted and never_read_request(self.process)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self.loop.cancel(self._deadline)
            self._deadline = None

    def _finish(self) -> None:
        self._finished = True
        self._cancel_deadline()
        failure = failure_of(self.process) if self._code else None
        if failure is not None:
            self._session.fail(self._ident, failure)
        else:
            self.send(wire.RESULT, self._result())
        if self._code is None:
            # A task that has answered but not exited: `_on_exit` cleans up.
            self.stdin.close()
        else:
            self.loop.later(self._clean_up)
        self._session.forget(self._ident, expect_more=not self._is_last, is_task=self._is_task)

    def _result(self) -> bytes:
        code = self._code
        # In a command, any process may have been the victim, and its shell may still have succeeded.
        oom_killed = (code == _KILLED or not self._is_task) and self.process.ran_out_of_memory()
        return _RESULT % (
            code or 0,
            _JSON_BOOL[self._timed_out],
            _JSON_BOOL[self._cancelled],
            _JSON_BOOL[oom_killed],
            (time.monotonic() - self._started_s) * 1000,
            self._stdout.sent_bytes,
            self._stderr.sent_bytes,
        )

    def _clean_up(self) -> None:
        loop, pipes = self.loop, self.process.pipes
        # Closing them is not enough: a child that was just forked has copies, and epoll would continue to report them.
        for fd in (self.process.exit_fd, pipes.stdout, pipes.stderr):
            loop.remove(fd)
        if (self._stdout.closed and self._stderr.closed) or not self._begun:
            self.process.close()
        else:
            linger(loop, self.process)
