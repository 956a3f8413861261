"""Deferred replies to requests. The caller may have disconnected by the time the reply is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document, encode_document
from pyro_mcp.protocol.frames import encode

if TYPE_CHECKING:
    from pyro_mcp.guest.conversation import Conversation


class OperationTable:
    """Base class for the operations of one frame kind, dispatched by name."""

    kind: str
    _table: Mapping[str, Callable[[Conversation, int, Document], None]]

    def perform(self, session: Conversation, ident: int, document: Document) -> None:
        """Perform the operation of a frame, and reply now or later.

        Raises:
            RefusalError, OSError: if it can't be performed.
        """
        name = document.get("op")
        operation = self._table.get(cast("str", name))
        if operation is None:
            raise RefusalError(wire.UNSUPPORTED, f"the agent does not know the {self.kind} operation {name!r}")
        operation(session, ident, document)


class NullSink:
    """Discards DATA that no operation reads."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Discard the data."""

    def end(self) -> None:
        """Do nothing."""


class Answer:
    """A deferred RESULT. `when_dropped` is called once if the caller disconnects or cancels first."""

    stdin = NullSink()

    def __init__(self, session: Conversation, ident: int, when_dropped: Callable[[], None] | None = None) -> None:
        self._session: Conversation | None = session
        self._ident = ident
        self._when_dropped = when_dropped
        session.begin(ident, self)

    def give(self, document: Document) -> None:
        """Send the result."""
        session = self._taken()
        if session is not None:
            session.reply(self._ident, document)

    def refuse(self, refusal: RefusalError) -> None:
        """Send a failure."""
        session = self._taken()
        if session is not None:
            session.fail(self._ident, refusal)

    def credit(self, stream: int, count: int) -> None:
        """Do nothing: there are no streams."""

    def cancel(self) -> None:
        """Do nothing: the operation is short."""

    def abandon(self) -> None:
        """Drop the session, which has ended."""
        self._session = None
        self._drop()

    def _taken(self) -> Conversation | None:
        """Return the session if the request has not been answered yet, and mark it answered."""
        session, self._session = self._session, None
        if session is not None:
            session.answered(self._ident)
        return session

    def _drop(self) -> None:
        call, self._when_dropped = self._when_dropped, None
        if call is not None:
            call()


class Reply(Answer):
    """A streamed reply: a document on stderr, bytes on stdout as flow control permits, then RESULT."""

    def __init__(self, session: Conversation, ident: int, when_dropped: Callable[[], None] | None = None) -> None:
        self._window = wire.WINDOW_BYTES
        self._data = b""
        super().__init__(session, ident, when_dropped)

    def give(self, document: Document, data: bytes = b"") -> None:
        """Send the document, then the data as the host gives credit, then the result."""
        if self._session is not None:
            self._session.lane.send(encode(self._ident, wire.STDERR, encode_document(document)))
            self._data = data
            self._flow()

    def credit(self, stream: int, count: int) -> None:
        """Record that the host accepts `count` more bytes."""
        if stream == wire.STDOUT_STREAM:
            self._window += count
            if self._data:
                self._flow()

    def cancel(self) -> None:
        """End the reply with a result that is marked as cancelled."""
        self._finish(cancelled=True)
        self._drop()

    def _flow(self) -> None:
        session = self._session
        while session is not None and self._data and self._window:
            count = min(len(self._data), self._window, wire.MAX_DATA_BYTES)
            session.lane.send(encode(self._ident, wire.STDOUT, self._data[:count]))
            self._data = self._data[count:]
            self._window -= count
        if not self._data:
            self._finish()

    def _finish(self, *, cancelled: bool = False) -> None:
        session = self._taken()
        if session is not None:
            session.reply(self._ident, {"exit_code": 0, "timed_out": False, "cancelled": cancelled, "duration_ms": 0})
