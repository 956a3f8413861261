"""What somebody else wrote can't drive the terminal it is shown on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.operations.printable import TerminalFilter, printable, printable_line

CLIPBOARD = "\x1b]52;c;cm0gLXJmIC8=\x07"
LINK = "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\"
TITLE = "\x1b]0;root@host\x07"
CLEAR = "\x1b[2J\x1b[H"
C1_CLEAR = "\x9b2J"
DANGEROUS = [
    CLIPBOARD,
    LINK,
    TITLE,
    CLEAR,
    C1_CLEAR,
    "\x1bc",
    "\x1b[6n",
    "\x1b[?1049h",
    "\x9d52;c;x\x9c",
    "\x1bP+q\x1b\\",
]


def filtered(*pieces: bytes) -> bytes:
    each = TerminalFilter()
    return b"".join([*(each.feed(piece) for piece in pieces), each.finish()])


@pytest.mark.parametrize("text", DANGEROUS)
def test_nothing_in_a_message_drives_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_stream_is_as_harmless_however_it_is_cut(text: str) -> None:
    data = text.encode()
    whole = filtered(data)
    assert b"\x1b" not in whole
    for at in range(len(data) + 1):
        assert filtered(data[:at], data[at:]) == whole
    assert filtered(*(data[at : at + 1] for at in range(len(data)))) == whole


def test_colours_and_progress_within_a_line_reach_the_terminal_untouched() -> None:
    data = b"\x1b[1;31mred\x1b[0m 10%\r20%\x1b[K\x08\ttab\n"
    assert filtered(data) == data
    assert filtered(*(data[at : at + 1] for at in range(len(data)))) == data
    assert filtered(b"\x07") == b"^G"


def test_raw_8_bit_controls_and_invalid_text_become_visible() -> None:
    assert filtered(b"a\x9b2Jb\xff") == b"a\\x9b2Jb\\xff"
    assert filtered("é☃".encode()) == "é☃".encode()
    assert filtered("é".encode()[:1]) == b"\\xc3"


def test_an_endless_sequence_is_not_kept_for_ever() -> None:
    each = TerminalFilter()
    shown = each.feed(b"\x1b[" + b"1;" * 1000)
    assert len(shown) > 1900
    assert b"\x1b" not in shown


def test_a_message_loses_colours_and_keeps_its_lines() -> None:
    assert printable("\x1b[31mred\x1b[0m\r\nnext\tone") == "red\nnext\tone"
    assert printable_line("a\nb") == "a\\nb"


def test_text_can_not_be_turned_around_or_hidden() -> None:
    assert printable("abc\u202edef\u2066\u2028") == "abc\\u202edef\\u2066\\u2028"
    assert printable("lone \udc9b surrogate") == "lone \\udc9b surrogate"


@given(st.text())
def test_a_line_of_ours_stays_one_line_of_plain_characters(text: str) -> None:
    shown = printable_line(text)
    assert not any(char in shown for char in "\n\r\x1b\x9b\x00")
    assert shown.encode("utf-8") is not None
