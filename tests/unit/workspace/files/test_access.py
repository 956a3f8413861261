"""Texts in and out of a workspace's files: cut anywhere, they stay text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.files.access import MAX_FILE_BYTES, encoded, part_of

TEXTS = st.text(alphabet="aé€𝄞\n\r", max_size=60)


@given(text=TEXTS, offset=st.integers(0, 80), length=st.integers(1, 80))
def test_any_part_of_a_text_is_text_and_parts_can_be_put_together(text: str, offset: int, length: int) -> None:
    whole = text.encode()
    part = part_of("ws", "/workspace/x", whole[: offset + length], offset, len(whole), 0o644)
    assert part.text.encode() == whole[part.offset : part.offset + part.byte_count]
    assert min(offset, len(whole)) <= part.offset <= offset + 3
    assert part.truncated == (part.byte_count < len(whole))
    rest = part_of("ws", "/workspace/x", whole, part.offset + part.byte_count, len(whole), 0o644)
    first = part_of("ws", "/workspace/x", whole[: part.offset + part.byte_count], 0, len(whole), 0o644)
    assert first.text + rest.text == text


@pytest.mark.parametrize("data", [b"caf\xe9\n", b"\xff\xfe", b"ok \xed\xa0\x80", b"ends within \xe2\x82"])
def test_what_is_no_text_is_refused_with_where_and_what_to_do(data: bytes) -> None:
    with pytest.raises(PyroError, match=r"/workspace/x is not UTF-8 text \(at byte") as caught:
        part_of("ws", "/workspace/x", data, 0, len(data), 0o644)
    assert caught.value.code is ErrorCode.INVALID
    assert "export" in caught.value.hint


def test_a_text_that_is_cut_within_a_character_ends_before_it() -> None:
    part = part_of("ws", "/workspace/x", "aä".encode()[:2], 0, 3, 0o644)
    assert (part.text, part.byte_count, part.truncated) == ("a", 1, True)


@pytest.mark.parametrize(("text", "why"), [("\ud800", "half of a character"), ("x" * (MAX_FILE_BYTES + 1), "bytes")])
def test_what_can_not_become_a_file_is_refused(text: str, why: str) -> None:
    with pytest.raises(PyroError, match=why) as caught:
        encoded(text, "x")
    assert caught.value.code is ErrorCode.INVALID
    assert len(caught.value.message) < 300
