"""Decide what a line from an MCP client is: a message for the SDK, or one that we answer with an error ourselves.

The SDK drops what it cannot parse without an answer, and the client waits for ever. Whatever asks for an answer and is
not a valid request gets a JSON-RPC error here, under the request's id wherever that can be read.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import cast

from mcp.types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCMessage,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

# Far above what a tool takes: a file of a mebibyte, every byte of it escaped, is six.
MAX_LINE_BYTES = 32 * 1024 * 1024
HEAD_BYTES = 4096
_SURROGATES = re.compile("[\ud800-\udfff]")
# The beginning of an object, as far as its members are scalars: an id there is the message's own.
_SCALAR = r'"(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+|true|false|null'
_MEMBER = re.compile(rf'\s*"(?P<key>\w+)"\s*:\s*(?P<value>{_SCALAR})\s*(?=[,}}])', re.ASCII)

Id = str | int | float | None


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that is answered with an error, under `ident` or, if there is none to be read, null."""

    code: int
    message: str
    ident: Id = None

    def encode(self) -> bytes:
        """Return the answer as a line."""
        error = {"code": self.code, "message": self.message}
        return _line({"jsonrpc": "2.0", "id": self.ident, "error": error})


def parse(line: bytes) -> JSONRPCMessage | Invalid | None:
    """Return the message in `line`, or the error to answer with, or None if there is nothing to do."""
    if not line.strip():
        return None
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Invalid(PARSE_ERROR, f"the message is not UTF-8 (byte {error.start})", _readable_id(line))
    try:
        document: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        wrong = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        return Invalid(PARSE_ERROR, f"the message is not JSON: {wrong}")
    if isinstance(document, list):
        return Invalid(INVALID_REQUEST, "batches are not supported: send each message on a line of its own")
    if not isinstance(document, dict):
        return Invalid(INVALID_REQUEST, "a message is a JSON object")
    return _check(cast("dict[str, object]", document))


def too_long(head: bytes) -> Invalid:
    """Return the error for a line above `MAX_LINE_BYTES` that begins with `head`."""
    limit = MAX_LINE_BYTES // 1024 // 1024
    return Invalid(INVALID_REQUEST, f"the message is longer than {limit} MiB", _id_in_head(head))


def cancelled(ident: str | int) -> Invalid:
    """Return the answer to a request that the server has not answered before it ended."""
    return Invalid(CONNECTION_CLOSED, "the server ended before it had an answer", ident)


def encode(message: JSONRPCMessage) -> bytes:
    """Return a message as a line. A lone surrogate in it, which UTF-8 has no bytes for, becomes U+FFFD."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:
        pass
    try:
        return _line(message.model_dump(by_alias=True, exclude_unset=True))
    except (TypeError, ValueError):
        ident = message.id if isinstance(message, JSONRPCResponse) else None
        return Invalid(INTERNAL_ERROR, "the answer cannot be encoded", ident).encode()


def _check(document: dict[str, object]) -> JSONRPCMessage | Invalid | None:
    ident, method = document.get("id"), document.get("method")
    if "method" not in document and ("result" in document or "error" in document):
        return _validated(document)
    if "id" not in document and isinstance(method, str):
        # A notification: never answered, however wrong it is.
        return None if _has_surrogate(document) else _validated(document)
    if isinstance(ident, bool) or not isinstance(ident, (str, int)) or _has_surrogate(ident):
        # A number is sent back, so that the client finds its request.
        number = ident if isinstance(ident, float) and math.isfinite(ident) else None
        return Invalid(INVALID_REQUEST, "id must be a string or a whole number", number)
    if document.get("jsonrpc") != "2.0":
        return Invalid(INVALID_REQUEST, 'jsonrpc must be "2.0"', ident)
    if not isinstance(method, str) or _has_surrogate(method):
        return Invalid(INVALID_REQUEST, "method must be a string", ident)
    if not isinstance(document.get("params", {}), dict):
        return Invalid(INVALID_PARAMS, "params must be an object", ident)
    if _has_surrogate(document):
        return Invalid(INVALID_PARAMS, "params hold a lone surrogate, which is not text", ident)
    return _validated({key: document[key] for key in ("jsonrpc", "id", "method", "params") if key in document})


def _validated(document: dict[str, object]) -> JSONRPCMessage | Invalid | None:
    try:
        message = jsonrpc_message_adapter.validate_python(document, by_name=False)
    except (ValidationError, RecursionError):
        message = None
    if message is None and "method" in document and "id" in document:
        return Invalid(INVALID_REQUEST, "the message is not a request of JSON-RPC", cast("str | int", document["id"]))
    return message


def _has_surrogate(value: object) -> bool:
    return _SURROGATES.search(json.dumps(value, ensure_ascii=False)) is not None


def _readable_id(line: bytes) -> Id:
    """Return the id of a request in which some bytes are not UTF-8."""
    try:
        document: object = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    ident = cast("dict[str, object]", document).get("id") if isinstance(document, dict) else None
    return _as_id(ident)


def _id_in_head(head: bytes) -> Id:
    """Return the id of an object of which only the beginning is known."""
    text = head.decode("utf-8", "surrogateescape").lstrip()
    at, separator = 0, "{"
    while text[at : at + 1] == separator and (member := _MEMBER.match(text, at + 1)):
        if member["key"] == "id":
            try:
                ident: object = json.loads(member["value"])
            except ValueError:
                return None
            return _as_id(ident)
        at, separator = member.end(), ","
    return None


def _as_id(value: object) -> Id:
    if isinstance(value, (str, int)) and not isinstance(value, bool) and not _has_surrogate(value):
        return value
    return None


def _line(document: object) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return _SURROGATES.sub("\ufffd", text).encode() + b"\n"


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
