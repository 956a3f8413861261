"""A stranger's JSON is one sound, bounded object, or a DocumentError."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import DocumentError, decode_strict, decode_trusted, encode_document

# What decoding may take, of the 64 MiB that a hostile guest may cost altogether.
MAX_DECODING_BYTES = 48 * 1024 * 1024

# Text as it comes from arguments and file names, which need not be UTF-8.
text = st.text() | st.binary(max_size=6).map(os.fsdecode)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def depth(value: object) -> int:
    match value:
        case dict():
            inner = list(cast("dict[str, object]", value).values())
        case list():
            inner = cast("list[object]", value)
        case _:
            return 0
    return 1 + max(map(depth, inner), default=0)


@given(st.dictionaries(text, values, max_size=5).filter(lambda document: depth(document) <= wire.MAX_JSON_DEPTH))
def test_what_was_encoded_is_decoded_to_the_same(document: dict[str, Any]) -> None:
    data = encode_document(document)
    data.decode("ascii")
    assert decode_strict(data) == decode_trusted(data) == document


@given(st.binary(max_size=300))
def test_any_bytes_are_an_object_or_a_document_error(data: bytes) -> None:
    for decode in (decode_strict, decode_trusted):
        try:
            assert isinstance(decode(data), dict)
        except DocumentError:
            continue


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"{",
        b'{"a":1}x',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"1" * 5000 + b"}",
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b'{"a":' * 17 + b"{}" + b"}" * 17,
        b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
        b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_unsound_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentError):
        decode_strict(body)


def test_the_deepest_nesting_that_may_be_is_taken() -> None:
    body = b'{"a":' * (wire.MAX_JSON_DEPTH - 1) + b"{}" + b"}" * (wire.MAX_JSON_DEPTH - 1)
    assert depth(decode_strict(body)) == wire.MAX_JSON_DEPTH


@pytest.mark.parametrize(
    "unit",
    [b'{"a":0},', b"{},", b"[],", b'"ab",', b"1.5,", b'{"a":{}},', b"999999999,", b'["a"],', '"ä",'.encode()],
    ids=repr,
)
def test_no_document_that_fits_into_a_frame_takes_much_memory(unit: bytes) -> None:
    count = (wire.MAX_JSON_BYTES - 20) // len(unit)
    body = b'{"a":[' + (unit * count)[:-1] + b"]}"
    tracemalloc.start()
    try:
        decode_strict(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_DECODING_BYTES


def test_an_object_of_as_many_keys_as_fit_takes_no_more() -> None:
    document = {f"{number:x}": 0 for number in range(130_000)}
    body = json.dumps(document, separators=(",", ":")).encode()[: wire.MAX_JSON_BYTES]
    assert len(body) <= wire.MAX_JSON_BYTES
    tracemalloc.start()
    try:
        decode_strict(body if body.endswith(b"}") else body.rpartition(b",")[0] + b"}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_DECODING_BYTES


@pytest.mark.parametrize("document", [{"a": float("nan")}, {"a": b"bytes"}, {"a": "x" * wire.MAX_JSON_BYTES}])
def test_what_can_not_be_said_is_refused_before_it_is_sent(document: dict[str, object]) -> None:
    with pytest.raises(DocumentError):
        encode_document(document)
