"""Checks of what a guest answers: a document, data within a bound, and fields of the right type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.agent.messages import Stream, breach, decode

if TYPE_CHECKING:
    from pyro_mcp.protocol.documents import Document

MAX_EXIT_CODE = 255
MAX_NAME_CHARS = 100
_MAX_DOCUMENT_BYTES = 256 * 1024


class ResultReader:
    """Collects an answer: one document on stderr, and at most `most_bytes` of data on stdout."""

    def __init__(self, most_bytes: int) -> None:
        self.data = bytearray()
        self._document: Document | None = None
        self._most_bytes = most_bytes

    @property
    def document(self) -> Document:
        """Return the document.

        Raises:
            PyroError: PROTOCOL if none came.
        """
        if self._document is None:
            raise breach("an answer without a document")
        return self._document

    def take(self, stream: Stream, data: bytes) -> None:
        """Take what came on one stream.

        Raises:
            PyroError: PROTOCOL if it is more than was asked for.
        """
        if stream is Stream.STDERR:
            if self._document is not None or len(data) > _MAX_DOCUMENT_BYTES:
                raise breach("two documents in one answer")
            self._document = decode(data)
            return
        self.data += data
        if len(self.data) > self._most_bytes:
            raise breach("more data than was asked for")


def number(document: Document, name: str, *, most: int = 1 << 60) -> int:
    """Return a count from an answer.

    Raises:
        PyroError: PROTOCOL if it is none.
    """
    value = document.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise breach(f"an answer without {name}")
    return value


def flag(document: Document, name: str) -> bool:
    """Return a truth value from an answer.

    Raises:
        PyroError: PROTOCOL if it is none.
    """
    value = document.get(name)
    if not isinstance(value, bool):
        raise breach(f"an answer without {name}")
    return value
