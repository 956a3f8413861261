"""Of a stream of any length its beginning and end are kept, and it is said what is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.agent import OutputBuffer

chunks = st.lists(st.binary(max_size=30), max_size=30)


def filled(pieces: list[bytes], head: int, tail: int) -> OutputBuffer:
    buffer = OutputBuffer(head, tail)
    for piece in pieces:
        buffer.add(piece)
    return buffer


@given(chunks, st.integers(0, 40), st.integers(0, 40))
def test_head_tail_and_what_is_dropped_make_the_whole(pieces: list[bytes], head: int, tail: int) -> None:
    data = b"".join(pieces)
    buffer = filled(pieces, head, tail)
    assert buffer.total_bytes == len(data)
    assert buffer.head == data[:head]
    assert buffer.tail == (data[head:][-tail:] if tail else b"")
    assert buffer.dropped_bytes == max(0, len(data) - head - tail)
    assert buffer.truncated == (len(data) > head + tail)


@given(st.text(max_size=200), st.integers(1, 20))
def test_no_character_is_cut_in_two(text: str, size: int) -> None:
    data = text.encode()
    shown = filled([data[at : at + 7] for at in range(0, len(data), 7)], size, size).text()
    assert "\ufffd" not in shown or "\ufffd" in text


def test_what_fits_is_shown_as_it_is() -> None:
    assert filled([b"abc", b"def"], 3, 3).text() == "abcdef"
    assert filled(["ü".encode()[:1], "ü".encode()[1:]], 1, 1).text() == "ü"


def test_what_was_dropped_is_said_between_the_lines() -> None:
    assert filled([b"head\n", b"x" * 100, b"\ntail"], 5, 5).text() == "head\n[… 100 bytes dropped …]\n\ntail"
    assert filled([b"0123456789"], 2, 2).text() == "01\n[… 6 bytes dropped …]\n89"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert filled([b"\xff\xfe"], 10, 10).text() == "\ufffd\ufffd"


def test_memory_does_not_grow_with_the_stream() -> None:
    buffer = OutputBuffer(100, 100)
    for _ in range(10_000):
        buffer.add(bytes(1000))
    assert len(buffer.head) + len(buffer.tail) == 200
    assert buffer.total_bytes == 10_000_000
