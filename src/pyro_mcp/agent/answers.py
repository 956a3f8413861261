"""Validate a guest's answers: one document, bounded data, and fields of the right type."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar, cast

from pyro_mcp.agent.messages import Stream, breach, decode
from pyro_mcp.protocol.documents import Document

E = TypeVar("E", bound=StrEnum)

MAX_EXIT_CODE = 255
MAX_NAME_CHARS = 100
MAX_DOCUMENT_BYTES = 256 * 1024


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
            PyroError: PROTOCOL if there was none.
        """
        if self._document is None:
            raise breach("an answer without a document")
        return self._document

    def take(self, stream: Stream, data: bytes) -> None:
        """Add data received on one stream.

        Raises:
            PyroError: PROTOCOL if it exceeds what was requested.
        """
        if stream is Stream.STDERR:
            if self._document is not None or len(data) > MAX_DOCUMENT_BYTES:
                raise breach("a second or oversized document in one answer")
            self._document = decode(data)
            return
        self.data += data
        if len(self.data) > self._most_bytes:
            raise breach("more data than was requested")


def number(document: Document, name: str, *, most: int = 1 << 60) -> int:
    """Return a count from an answer.

    Raises:
        PyroError: PROTOCOL if it is missing, not an integer, or out of range.
    """
    value = document.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise breach(f"an answer with a missing or invalid {name}")
    return value


def flag(document: Document, name: str) -> bool:
    """Return a boolean from an answer.

    Raises:
        PyroError: PROTOCOL if it is missing or not a boolean.
    """
    value = document.get(name)
    if not isinstance(value, bool):
        raise breach(f"an answer with a missing or invalid {name}")
    return value


def text(document: Document, name: str, *, most: int = MAX_NAME_CHARS) -> str:
    """Return a string from an answer.

    Raises:
        PyroError: PROTOCOL if it is missing, not a string, or too long.
    """
    value = document.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise breach(f"an answer with a missing or invalid {name}")
    return value


def choice(document: Document, name: str, kind: type[E]) -> E:
    """Return a member of an enumeration from an answer.

    Raises:
        PyroError: PROTOCOL if it is missing or unknown.
    """
    value = document.get(name)
    if not isinstance(value, str) or value not in set(kind):
        raise breach(f"an answer with an unknown {name}")
    return kind(value)


def exit_code(document: Document, *, runs: bool) -> int | None:
    """Return the exit code from an answer, or None for a process that still runs.

    Raises:
        PyroError: PROTOCOL if it is invalid, or contradicts `runs`.
    """
    if (document.get("exit_code") is None) != runs:
        raise breach("an exit code that contradicts the state")
    return None if runs else number(document, "exit_code", most=MAX_EXIT_CODE)


def objects(document: Document, name: str, *, most: int) -> list[Document]:
    """Return a list of objects from an answer.

    Raises:
        PyroError: PROTOCOL if it is missing, too long, or contains anything but objects.
    """
    found = document.get(name)
    if not isinstance(found, list) or len(cast("list[object]", found)) > most:
        raise breach(f"an answer with a missing or invalid {name}")
    if not all(isinstance(each, dict) for each in cast("list[object]", found)):
        raise breach(f"an answer with invalid {name}")
    return cast("list[Document]", found)
