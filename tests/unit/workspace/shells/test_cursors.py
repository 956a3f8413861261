"""Which text a part of a shell's output is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.workspace.secrets.redactor import Redactor
from pyro_mcp.workspace.shells.cursors import shown_part
from tests.unit.workspace.shells.outputs import output

SECRET = "correct-horse"
WHOLE = 100_000


def read_in_parts(data: bytes, sizes: list[int], max_chars: int, redactor: Redactor | None = None) -> str:
    """Read all of it, at each step as much as comes, as a caller does who goes on from next_cursor."""
    texts: list[str] = []
    at, step = 0, 0
    while at < len(data):
        size = sizes[step % len(sizes)] + step
        step += 1
        stop = min(at + size, len(data))
        part = shown_part(
            output(data[at:stop], data[:at], end=len(data), exit_code=0),
            max_chars,
            plain=False,
            is_last=stop == len(data),
            redactor=redactor,
        )
        texts.append(part.text)
        at += part.byte_count
    return "".join(texts)


def test_half_a_character_is_left_for_the_next_part() -> None:
    data = "ä日".encode()
    part = shown_part(output(data[:4]), 100, plain=False, is_last=False)
    assert (part.text, part.byte_count) == ("ä", 2)
    part = shown_part(output(data[:4], exit_code=0), 100, plain=False, is_last=True)
    assert (part.text, part.byte_count) == ("ä\ufffd\ufffd", 4)


def test_bytes_that_are_no_character_are_replaced_one_by_one() -> None:
    part = shown_part(output(b"a\xff\xfe\xe6b"), 100, plain=False, is_last=False)
    assert (part.text, part.byte_count) == ("a\ufffd\ufffd\ufffdb", 5)


def test_no_more_characters_than_wanted() -> None:
    part = shown_part(output("日本語".encode()), 2, plain=False, is_last=False)
    assert (part.text, part.byte_count, part.is_cut) == ("日本", 6, True)


def test_a_part_that_ends_before_the_output_is_cut() -> None:
    assert shown_part(output(b"abc", end=10), 100, plain=False, is_last=False).is_cut
    assert not shown_part(output(b"abc"), 100, plain=False, is_last=False).is_cut


@given(st.binary(max_size=200), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 20))
def test_parts_are_the_whole_however_they_are_cut(data: bytes, sizes: list[int], max_chars: int) -> None:
    whole = shown_part(output(data, exit_code=0), WHOLE, plain=False, is_last=True).text
    assert read_in_parts(data, sizes, max_chars) == whole


@given(
    st.lists(st.sampled_from([SECRET, SECRET[:5], "c", "plain ", "\r\n", "日"]), max_size=12),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 30),
)
def test_no_cut_lets_a_secret_through(words: list[str], sizes: list[int], max_chars: int) -> None:
    redactor = Redactor([SECRET])
    data = "".join(words).encode()
    text = read_in_parts(data, sizes, max_chars, redactor)
    assert text == redactor.data(data).decode()
    assert SECRET not in text


def test_a_cursor_in_the_middle_of_a_secret_shows_none_of_it() -> None:
    redactor = Redactor([SECRET])
    data = f"<{SECRET}>".encode()
    part = shown_part(output(data[5:], data[:5]), 100, plain=False, is_last=False, redactor=redactor)
    assert part.text == "[REDACTED]>"


def test_a_secret_is_redacted_before_it_is_drawn() -> None:
    redactor = Redactor([SECRET])
    data = f"\x1b[31m{SECRET}\x1b[0m\r\nend".encode()
    assert shown_part(output(data), 100, plain=True, is_last=False, redactor=redactor).text == "[REDACTED]\nend"
