"""Reading a part of a shell's output, and attaching to it.

A shell is never held up: a caller that is too slow misses output, and gets the number of bytes lost.
"""

from __future__ import annotations

import struct
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import shells, wire
from pyro_mcp.protocol.documents import encode_document
from pyro_mcp.protocol.frames import encode

if TYPE_CHECKING:
    from pyro_mcp.guest.conversation import Conversation
    from pyro_mcp.guest.shells.shell import Shell
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Deadline, Loop

_CREDIT = struct.Struct(wire.CREDIT_FORMAT)
# By then a shell has said its first words, or has none to say.
_FIRST_WORDS_S = 20.0


class View(ABC):
    """One client's view of a shell, from the request to its result."""

    def __init__(self, shell: Shell, session: Conversation, ident: int) -> None:
        self.shell = shell
        self.session = session
        self.ident = ident
        self.window = wire.WINDOW_BYTES
        self.is_over = False
        self._began_s = time.monotonic()
        session.begin(ident, self)
        shell.views.append(self)

    @property
    def stdin(self) -> View:
        """Return where DATA goes."""
        return self

    def write(self, data: bytes) -> None:  # noqa: B027 - a choice, and most views make it
        """Forget what is typed."""

    def end(self) -> None:  # noqa: B027 - as above
        """Do nothing: nobody is done with a shell because nothing more is typed."""

    def credit(self, stream: int, count: int) -> None:
        """Take note that the host can take more."""
        if stream == wire.STDOUT_STREAM:
            self.window += count
            self.on_change()

    def cancel(self) -> None:
        """End it, and say so."""
        self.finish(cancelled=True)

    def abandon(self) -> None:
        """End it: nobody is left to answer."""
        self._end()

    @abstractmethod
    def on_change(self) -> None:
        """Send what can be sent."""

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame."""
        self.session.lane.send(encode(self.ident, kind, body))

    def finish(self, *, cancelled: bool = False) -> None:
        """Say that it is over."""
        if self._end():
            duration_ms = int((time.monotonic() - self._began_s) * 1000)
            self.session.answered(self.ident)
            self.session.reply(
                self.ident, {"exit_code": 0, "timed_out": False, "cancelled": cancelled, "duration_ms": duration_ms}
            )

    def _end(self) -> bool:
        if self.is_over:
            return False
        self.is_over = True
        self.shell.views.remove(self)
        return True


class Reading(View):
    """A part of the output, once there has been a pause."""

    def __init__(self, shell: Shell, session: Conversation, ident: int, loop: Loop, document: Document) -> None:
        super().__init__(shell, session, ident)
        self._loop = loop
        self._cursor = cast("int", document["cursor"])
        self._max_bytes = min(cast("int", document["max_bytes"]), shells.MAX_READ_BYTES)
        self._context_bytes = min(cast("int", document.get("context_bytes", 0)), shells.CONTEXT_BYTES)
        self._idle_s = min(cast("int", document.get("idle_ms", 0)), shells.MAX_IDLE_MS) / 1000
        self._asked_s = time.monotonic()
        self._latest_s = self._asked_s + min(cast("int", document.get("wait_ms", 0)), shells.MAX_WAIT_MS) / 1000
        self._deadline: Deadline | None = None
        self._data: bytes | None = None
        self._at = 0
        self.on_change()

    def on_change(self) -> None:
        """Begin to send when there has been a pause; go on as the host takes it."""
        if self.is_over:
            return
        if self._data is None:
            left_s = self._left_s()
            if left_s > 0:
                self._wait(left_s)
                return
            self._data = self._report()
        while self._at < len(self._data) and self.window:
            piece = self._data[self._at : self._at + min(self.window, wire.MAX_DATA_BYTES)]
            self._at += len(piece)
            self.window -= len(piece)
            self.send(wire.STDOUT, piece)
        if self._at == len(self._data):
            self.finish()

    def _end(self) -> bool:
        if self._deadline is not None:
            self._loop.cancel(self._deadline)
            self._deadline = None
        return super()._end()

    def _wait(self, left_s: float) -> None:
        # Output mostly moves the end of the waiting: it is looked at again when that has come.
        if self._deadline is not None:
            if self._deadline.when <= time.monotonic() + left_s:
                return
            self._loop.cancel(self._deadline)
        self._deadline = self._loop.at(left_s, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        self.on_change()

    def _left_s(self) -> float:
        """Return how long it is to be waited yet."""
        shell, terminal = self.shell, self.shell.terminal
        if not self._idle_s or shell.exit_code is not None:
            return 0.0
        if not terminal.has_spoken:
            # Before its first prompt a shell has not paused, it has not begun.
            return min(self._asked_s + _FIRST_WORDS_S, self._latest_s) - time.monotonic()
        quiet_since_s = max(terminal.output_s, terminal.input_s)
        if terminal.end <= self._cursor:
            # The effect of input may take a moment to show.
            quiet_since_s = max(quiet_since_s, self._asked_s)
        return min(quiet_since_s + self._idle_s, self._latest_s) - time.monotonic()

    def _report(self) -> bytes:
        """Say what is coming, and return it."""
        terminal = self.shell.terminal
        # The last words of a program may not have been taken yet.
        if terminal.drain():
            # No event will tell the other views of what was taken here.
            self._loop.later(self.shell.notify)
        start = min(max(self._cursor, terminal.readable_start), terminal.end)
        end = min(start + self._max_bytes, terminal.end)
        context = max(start - self._context_bytes, terminal.start)
        report = self.shell.report()
        report |= {"context": context, "start": start, "stop": end, "sizes": terminal.sizes_for(context, end)}
        self.send(wire.STDERR, encode_document(report))
        return terminal.bytes_between(context, end)


class Attachment(View):
    """Somebody's own terminal at the shell: all that comes out, from a cursor on, and what is typed goes in."""

    def __init__(self, shell: Shell, session: Conversation, ident: int, document: Document) -> None:
        super().__init__(shell, session, ident)
        self._at = min(max(cast("int", document["cursor"]), shell.terminal.start), shell.terminal.end)
        self._typed_bytes = 0
        self._is_waiting = False
        self.send(wire.STDERR, encode_document(shell.report()))
        self.on_change()

    def write(self, data: bytes) -> None:
        """Type."""
        # Where nobody reads it, it is lost, as on any keyboard.
        with suppress(RefusalError):
            self.shell.terminal.write(data)
        self._typed_bytes += len(data)
        if self._typed_bytes >= wire.CREDIT_BYTES:
            self.send(wire.CREDIT, _CREDIT.pack(wire.STDIN_STREAM, self._typed_bytes))
            self._typed_bytes = 0

    def on_change(self) -> None:
        """Send what has come out, as the host takes it."""
        terminal = self.shell.terminal
        if self._at < terminal.start and not self.is_over:
            self.send(wire.STDERR, encode_document({"skipped": terminal.start - self._at}))
            self._at = terminal.start
        while not self.is_over and self._at < terminal.end and self.window:
            if self.session.lane.is_congested:
                self._wait()
                return
            size = min(self.window, wire.MAX_DATA_BYTES, terminal.end - self._at)
            self.send(wire.STDOUT, terminal.bytes_between(self._at, self._at + size))
            self._at += size
            self.window -= size
        if self.shell.exit_code is not None and self._at == terminal.end:
            self.finish()

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self.session.lane.call_when_drained(self._on_drained)

    def _on_drained(self) -> None:
        self._is_waiting = False
        self.on_change()
