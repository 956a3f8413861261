"""Encode and decode the JSON in frames, strictly where it comes from an untrusted peer.

Duplicate keys, numbers such as NaN, deep nesting, and anything that is not an object are errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from pyro_mcp.protocol.wire import MAX_JSON_BYTES, MAX_JSON_DEPTH

#: A JSON object.
Document = dict[str, object]


class DocumentError(ValueError):
    """The JSON of a frame is invalid; the message says why."""


# Pure ASCII: text that is not UTF-8 is sent as escaped lone surrogates, and the lanes' magic can't occur.
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# The bare scanner: the decoder's extra checks are not needed for the output of our own encoder.
_SCAN = cast("Callable[[str, int], tuple[object, int]]", cast("Any", json.JSONDecoder()).scan_once)


def encode_document(document: Mapping[str, object]) -> bytes:
    """Return an object as JSON.

    Raises:
        DocumentError: if it is too long for a frame, or has a value that JSON can't represent.
    """
    try:
        data = _ENCODE(document).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"not representable as JSON: {error}") from error
    if len(data) > MAX_JSON_BYTES:
        raise DocumentError(f"{len(data)} bytes of JSON, but the limit is {MAX_JSON_BYTES}")
    return data


def decode_trusted(body: bytes) -> Document:
    """Return the object that the host sent. The guest trusts the host, so only the top-level type is checked.

    Raises:
        DocumentError: if it is not a JSON object.
    """
    try:
        document, _ = _SCAN(body.decode("ascii"), 0)
    except (ValueError, StopIteration, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from error
    if type(document) is not dict:
        raise DocumentError("not a JSON object")
    return cast("Document", document)


def decode_strict(body: bytes) -> Document:
    """Return the object that an untrusted peer sent, after every check.

    Raises:
        DocumentError: if it is anything but one valid JSON object of bounded depth.
    """
    try:
        document: object = json.loads(
            body.decode("utf-8", "strict"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise DocumentError(f"JSON nested deeper than {MAX_JSON_DEPTH}") from None
    except ValueError as error:
        raise DocumentError(f"not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise DocumentError("not a JSON object")
    _check_depth(cast("Document", document))
    return cast("Document", document)


def _unique(pairs: list[tuple[str, object]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise DocumentError("a JSON object with a duplicate key")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DocumentError("a number that is out of range")
    return number


def _check_depth(document: Document) -> None:
    level: list[object] = [document]
    for _ in range(MAX_JSON_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += cast("Document", value).values()
            elif isinstance(value, list):
                below += cast("list[object]", value)
        if not below:
            return
        level = below
    if any(isinstance(value, (dict, list)) for value in level):
        raise DocumentError(f"JSON nested deeper than {MAX_JSON_DEPTH}")
