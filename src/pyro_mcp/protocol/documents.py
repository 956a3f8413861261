"""The JSON in frames, decoded strictly where it comes from a stranger.

Duplicate keys, numbers such as NaN, deep nesting, and anything that is not an object are errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from pyro_mcp.protocol.wire import MAX_JSON_BYTES, MAX_JSON_DEPTH

#: What JSON can hold; the values of a decoded document.
Document = dict[str, object]


class DocumentError(ValueError):
    """Say what is wrong with the JSON of a frame."""


# Pure ASCII: text that is not UTF-8 crosses as lone surrogates, escaped, and the lanes' magic can't occur.
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
# The scanner alone: what the decoder does around it is not needed for what our own encoder wrote.
_SCAN = cast("Callable[[str, int], tuple[object, int]]", cast("Any", json.JSONDecoder()).scan_once)


def encode_document(document: Mapping[str, object]) -> bytes:
    """Return an object as JSON.

    Raises:
        DocumentError: if it is too long for a frame, or holds what JSON can't.
    """
    try:
        data = _ENCODE(document).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"not to be said in JSON: {error}") from error
    if len(data) > MAX_JSON_BYTES:
        raise DocumentError(f"{len(data)} bytes of JSON, of at most {MAX_JSON_BYTES}")
    return data


def decode_trusted(body: bytes) -> Document:
    """Return the object that the host sent. The guest trusts the host: only the shape is checked.

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
    """Return the object that a stranger sent, after every check.

    Raises:
        DocumentError: if it is anything but one sound JSON object of bounded depth.
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
        raise DocumentError("a JSON object with a key twice")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DocumentError("a number beyond what can be counted with")
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
