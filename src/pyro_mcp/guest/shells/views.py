"""Read a part of a shell's output, or attach to the shell.

A slow caller never blocks the shell: it misses output, and is sent the number of bytes skipped.
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
# How long to wait for a shell's first output, such as its prompt.
_FIRST_OUTPUT_S = 20.0


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
        """Return the destination of DATA."""
        return self

    def write(self, data: bytes) -> None:  # noqa: B027 - a default that subclasses may override
        """Discard input."""

    def end(self) -> None:  # noqa: B027 - as above
        """Do nothing: the end of the input does not end the view."""

    def credit(self, stream: int, count: int) -> None:
        """Record that the host accepts `count` more bytes."""
        if stream == wire.STDOUT_STREAM:
            self.window += count
            self.on_change()

    def cancel(self) -> None:
        """End the view with a result that is marked as cancelled."""
        self.finish(cancelled=True)

    def abandon(self) -> None:
        """End the view without answering: the session has ended."""
        self._end()

    @abstractmethod
    def on_change(self) -> None:
        """Send what the host accepts."""

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame."""
        self.session.lane.send(encode(self.ident, kind, body))

    def finish(self, *, cancelled: bool = False) -> None:
        """End the view and send its result."""
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
    """Returns a part of the output once the shell pauses."""

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
        """Start sending once the shell pauses; continue as the host gives credit."""
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
        # More output usually postpones the end of the wait, which `_on_deadline` then recomputes.
        if self._deadline is not None:
            if self._deadline.when <= time.monotonic() + left_s:
                return
            self._loop.cancel(self._deadline)
        self._deadline = self._loop.at(left_s, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        self.on_change()

    def _left_s(self) -> float:
        """Return how much longer to wait."""
        shell, terminal = self.shell, self.shell.terminal
        if not self._idle_s or shell.exit_code is not None:
            return 0.0
        if not terminal.has_output:
            # Silence before the first prompt is not a pause: the shell is still starting.
            return min(self._asked_s + _FIRST_OUTPUT_S, self._latest_s) - time.monotonic()
        quiet_since_s = max(terminal.output_s, terminal.input_s)
        if terminal.end <= self._cursor:
            # The output caused by input may take a moment to appear.
            quiet_since_s = max(quiet_since_s, self._asked_s)
        return min(quiet_since_s + self._idle_s, self._latest_s) - time.monotonic()

    def _report(self) -> bytes:
        """Send the report, and return the output that follows it."""
        terminal = self.shell.terminal
        # The most recent output may not have been read yet.
        if terminal.drain():
            # No event will notify the other views of the output read here.
            self._loop.later(self.shell.notify)
        start = min(max(self._cursor, terminal.readable_start), terminal.end)
        end = min(start + self._max_bytes, terminal.end)
        context = max(start - self._context_bytes, terminal.start)
        report = self.shell.report()
        report |= {"context": context, "start": start, "stop": end, "sizes": terminal.sizes_for(context, end)}
        self.send(wire.STDERR, encode_document(report))
        return terminal.bytes_between(context, end)


class Attachment(View):
    """An attached client: streams all output from a cursor on, and passes input to the shell."""

    def __init__(self, shell: Shell, session: Conversation, ident: int, document: Document) -> None:
        super().__init__(shell, session, ident)
        self._at = min(max(cast("int", document["cursor"]), shell.terminal.start), shell.terminal.end)
        self._typed_bytes = 0
        self._is_waiting = False
        self.send(wire.STDERR, encode_document(shell.report()))
        self.on_change()

    def write(self, data: bytes) -> None:
        """Pass input to the shell."""
        # If the terminal is closed or its queue is full, input is lost, as on any keyboard.
        with suppress(RefusalError):
            self.shell.terminal.write(data)
        self._typed_bytes += len(data)
        if self._typed_bytes >= wire.CREDIT_BYTES:
            self.send(wire.CREDIT, _CREDIT.pack(wire.STDIN_STREAM, self._typed_bytes))
            self._typed_bytes = 0

    def on_change(self) -> None:
        """Send output as far as the host accepts it."""
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
