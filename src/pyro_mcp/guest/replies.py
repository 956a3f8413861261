"""An answer in parts: documents on stderr, bytes on stdout, and RESULT.

Owns the host's window, and that nothing is said twice or to nobody. Refuses to know what is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.guest.shells import Nothing
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import encode_document
from pyro_mcp.protocol.frames import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.session import Session
    from pyro_mcp.guest.spawner import RefusalError
    from pyro_mcp.protocol.documents import Document


class Reply:
    """A request that is being answered. `when_dropped` is called if nobody wants the answer any more."""

    stdin = Nothing()

    def __init__(self, session: Session, ident: int, when_dropped: Callable[[], None] | None = None) -> None:
        self._session: Session | None = session
        self._ident = ident
        self._when_dropped = when_dropped
        self._window = wire.WINDOW_BYTES
        self._data = b""
        session.begin(ident, self)

    def give(self, document: Document, data: bytes = b"") -> None:
        """Answer, with data that goes out as the host takes it."""
        if self._session is not None:
            self._session.lane.send(encode(self._ident, wire.STDERR, encode_document(document)))
            self._data = data
            self._flow()

    def refuse(self, refusal: RefusalError) -> None:
        """Answer that it can't be done."""
        session, self._session = self._session, None
        if session is not None:
            session.answered(self._ident)
            session.fail(self._ident, refusal)

    def credit(self, stream: int, count: int) -> None:
        """Take note that the host can take more."""
        if stream == wire.STDOUT_STREAM:
            self._window += count
            if self._data:
                self._flow()

    def cancel(self) -> None:
        """Say that it was called off."""
        self._finish(cancelled=True)
        self._drop()

    def abandon(self) -> None:
        """Forget who asked."""
        self._session = None
        self._drop()

    def _drop(self) -> None:
        call, self._when_dropped = self._when_dropped, None
        if call is not None:
            call()

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
        session, self._session = self._session, None
        if session is not None:
            session.answered(self._ident)
            session.reply(self._ident, {"exit_code": 0, "timed_out": False, "cancelled": cancelled, "duration_ms": 0})
