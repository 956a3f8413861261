"""What a person would see of a terminal's output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.agent.shells import ShellSize
from pyro_mcp.workspace.shells.cursors import shown_part
from tests.unit.workspace.shells.outputs import output, seen

PROMPT = b"\x1b[?2004hroot@guest:~# "
FULL = 256 * 1024
WORDS = (
    "a", "bc", " ", "日", "e\u0301", "\n", "\r", "\r\n", "\b", "\t", "\x1b[A", "\x1b[3C", "\x1b[2J", "\x1b[H",
    "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[1J", "\x1b[L", "\x1b[2M", "\x1b[3@", "\x1b[P", "\x1b[4X",
    "\x1b[r", "\x1bM", "\x1bD", "\x1b7", "\x1b8", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?7l", "\x1b[?7h", "\x1b[4h",
    "\x1b[4l", "\x1b[S", "\x1b[2T", "\x1b[9b", "\x1b[3Z", "\x1bc", "\x1b[31m", "\x1b]0;x\x07", "\x1b[", "\x1b]",
    "\x1b[?6h", "\x1b[?6l", "\x1b(0", "\x1b(B", "\x0e", "\x0f", "\u200d", "\x1b[!p", "\x1bH", "\x1b[3g", "\x1bP",
    "\x1b[5;7H", "\x1b[2;5r",
)  # fmt: skip
HOSTILE = (
    "\x1b#8", "\x1b[2J", "\x1b[L", "\x1b[9999;9999H", "a\x1b[9999b", "a\u0301", "\u0301\x1b[C\x1b[D", "\t", "\x1b]",
    "\x1bP", "\x1b[?1049h\x1b[?1049l", "日", ";", "\x1b", "\x1b[1", "\n", "\x1bM", "\x1b[9999S", "\x1b7\x1b8", "\x1bH",
    "\x1b[9999@", "\x1b[9999Z",
)  # fmt: skip


def test_colours_and_modes_leave_no_trace() -> None:
    assert (
        seen(PROMPT + b"\x1b[1;31mred\x1b[0m\x1b[38;2;1;2;3mrgb\x1b[m\x1b]0;title\x07 end")
        == "root@guest:~# redrgb end"
    )


def test_what_stood_in_the_line_already_is_not_repeated() -> None:
    assert seen(b"ls\r\n\x1b[?2004l\rone two\r\n" + PROMPT, PROMPT) == "ls\none two\nroot@guest:~# "


def test_texts_read_one_after_the_other_are_the_whole() -> None:
    data = b"".join(b"line %d\r\n" % number for number in range(100))
    parts = [seen(data[at : at + 37], data[:at]) for at in range(0, len(data), 37)]
    assert "".join(parts) == data.decode().replace("\r", "")


def test_a_progress_bar_is_shown_as_it_stands() -> None:
    assert seen(b"10%\r55%\r100% done\r\n$ ") == "100% done\n$ "
    # The line was begun before, and is not what it was.
    assert seen(b"\r55%", b"get file\r\n10%") == "55%"


def test_several_bars_at_once_are_shown_as_they_stand() -> None:
    begun = b"$ pull\r\na: 1%\r\nb: 1%\r\n"
    assert seen(b"\x1b[2A\ra: 90%\r\n\n", begun) == "a: 90%\nb: 1%\n"


def test_backspaces_take_back() -> None:
    assert seen(b"lls\b\b\bls\x1b[K\r\n") == "ls\n"


def test_wide_characters_take_two_columns_and_are_one() -> None:
    assert seen("日本\b\bx\r\n".encode()) == "日x\n"
    assert seen("e\u0301 \u0301\r\n".encode()) == "\u00e9 \u0301\n"


def test_a_line_that_goes_on_in_the_next_row_is_one_line() -> None:
    assert seen(b"x" * 30 + b"\r\nnext\r\n", cols=10) == "x" * 30 + "\nnext\n"


def test_what_scrolled_off_is_there() -> None:
    data = b"".join(b"%d\r\n" % number for number in range(1000))
    assert seen(data, rows=5) == data.decode().replace("\r", "")


def test_a_full_screen_program_shows_its_screen() -> None:
    vim = (
        b"\x1b[?1049h\x1b[?1h\x1b=\x1b[H\x1b[2J\x1b[1;1Hroses are red\x1b[2;1H\x1b[94m~\x1b[24;1H\x1b[m1,1 All\x1b[1;1H"
    )
    assert seen(vim, PROMPT + b"vim\r\n") == "roses are red\n~" + "\n" * 22 + "1,1 All"


def test_a_full_screen_program_is_gone_when_it_has_ended() -> None:
    before = PROMPT + b"vim\r\n\x1b[?1049h\x1b[2J\x1b[Hroses"
    assert seen(b"x\x1b[?1049l\r\n" + PROMPT, before) == "root@guest:~# "
    assert seen(b"", before) == ""


def test_a_change_shows_the_whole_screen_of_a_full_screen_program() -> None:
    assert seen(b"\x1b[3;1Hthree", PROMPT + b"\x1b[?1049h\x1b[2J\x1b[Hone\r\ntwo") == "one\ntwo\nthree"


def test_repeated_characters_are_drawn_as_often() -> None:
    assert seen(b"-\x1b[9b>") == "---------->"


def test_scrolling_within_margins_keeps_the_rest() -> None:
    assert seen(b"\x1b[?1049h\x1b[Htop\x1b[5;1Hend\x1b[2;4r\x1b[2;1Ha\r\nb\r\nc\r\nd\x1b[r") == "top\nb\nc\nd\nend"


@pytest.mark.parametrize("at", range(1, 22))
def test_sequences_may_be_cut_anywhere(at: int) -> None:
    data = "\x1b[31m日本\x1b]0;t\x1b\\\x1b[0m!\r\n".encode()
    first = shown_part(output(data[:at]), 1000, plain=True, is_last=False)
    # Half a character is left for the next part.
    assert at - 3 < first.byte_count <= at
    rest = shown_part(output(data[first.byte_count :], data[: first.byte_count]), 1000, plain=True, is_last=False)
    assert first.text + rest.text == "日本!\n"


def test_what_never_ends_is_not_shown() -> None:
    assert seen(b"before\x1b]0;no end" + b"x" * 1000) == "before"


def test_a_size_that_changed_is_heeded() -> None:
    sizes = (ShellSize(0, 80, 24), ShellSize(6, 10, 24))
    data = b"first\n" + b"\r" + b"y" * 15 + b"\x1b[24;1Hlast"
    shown = shown_part(output(data, sizes=sizes), 1000, plain=True, is_last=False).text
    assert shown.startswith("first\n" + "y" * 15 + "\n")
    assert shown.endswith("last")


def test_more_than_is_wanted_is_read_in_parts() -> None:
    data = b"".join(b"line %d\r\n" % number for number in range(100))
    part = shown_part(output(data), 50, plain=True, is_last=False)
    assert part.is_cut
    assert len(part.text) <= 50
    rest = shown_part(output(data[part.byte_count :], data[: part.byte_count]), 5000, plain=True, is_last=False)
    assert part.text + rest.text == data.decode().replace("\r", "")


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_output_is_drawn_with_bounded_work(unit: str) -> None:
    data = ("\x1b[" * (unit == ";") + unit * (FULL // len(unit.encode())))[:FULL].encode()[:FULL]
    part = shown_part(output(data, cols=1000, rows=500), 65_536, plain=True, is_last=False)
    assert len(part.text) <= 65_536


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(0, 60))
def test_no_sequence_breaks_the_drawing(words: list[str], at: int) -> None:
    before, data = "".join(words[:at]).encode(), "".join(words[at:]).encode()
    text = seen(data, before, cols=12, rows=5)
    assert text == seen(data, before, cols=12, rows=5)
    assert "\x1b" not in text


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_bytes_break_the_drawing(before: bytes, data: bytes) -> None:
    text = seen(data, before, cols=12, rows=5)
    assert not any(ord(each) < 0x20 and each != "\n" for each in text)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "M")), max_size=200), st.integers(0, 200))
def test_plain_text_stays_as_it_is(text: str, at: int) -> None:
    from pyte.screens import wcwidth

    lines = ["".join(each for each in line if wcwidth(each) > 0).rstrip() for line in text.split("\n")]
    data = "\r\n".join(lines).encode()
    assert seen(data[at:], data[:at]).replace("\ufffd", "") in "\n".join(lines)
