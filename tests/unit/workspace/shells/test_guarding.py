"""What of a guest's output may reach a person's terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.workspace.shells.guarding import AttachedFilter

LET_THROUGH = (
    "text äöü 日本\r\n", "\x1b[31;1m", "\x1b[38:2::1:2:3m", "\x1b[?1049h", "\x1b[?25l", "\x1b[>4;2m", "\x1b[u",
    "\x1b[>1u", "\x1b[2 q", "\x1b(0", "\x1bM", "\x1b7", "\x1b8", "\x1b=", "\x1b]11;#ffffff\x07",
    "\x1b]4;1;rgb:00/11/22\x1b\\", "\x07", "\x1b[!p",
)  # fmt: skip
REFUSED = (
    "\x1b]52;c;c3RvbGVu\x07", "\x1b]0;title\x1b\\", "\x1b]2;title\x07", "\x1b]8;;http://x\x1b\\", "\x1b]9;note\x07",
    "\x1b]777;notify;a;b\x07", "\x1b]1337;File=name=x:AAAA\x07", "\x1bP+q544e\x1b\\", "\x1bP$qm\x1b\\",
    "\x1b_Gt=f;x\x1b\\",
    "\x1b^pm\x1b\\", "\x1bXsos\x1b\\", "\x1b[21t", "\x1b[8;9;9t", "\x1b[5i", "\x05", "\x90q\x9c", "\x9b21t",
)  # fmt: skip
QUERIES = (
    "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?996n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[=c", "\x1bZ", "\x05",
    "\x1b[x", "\x1b[1x", "\x1b[20$p", "\x1b[?2026$p", "\x1b[1$w", "\x1b[2$w", "\x1b[1$u", "\x1b[1;1;1;1;2;2*y",
    "\x1b['|", "\x1b[1'|", '\x1b["v', "\x1b[>q", "\x1b[>0q", "\x1b[?u", "\x1b[?4m", "\x1b[?2;1S", "\x1b[18t",
    "\x1b[?2048h", "\x1b[?25;2048h", "\x1b]4;1;?\x07", "\x1b]10;?\x07", "\x1b]11;?\x1b\\", "\x1b]12;?\x07",
    "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_Gi=1,a=q;AAAA\x1b\\",
)  # fmt: skip


def passed(data: bytes, *, step: int = 0) -> bytes:
    guarded = AttachedFilter()
    step = step or max(1, len(data))
    return b"".join(guarded.feed(data[at : at + step]) for at in range(0, len(data), step))


@pytest.mark.parametrize("text", LET_THROUGH)
def test_what_draws_is_let_through(text: str) -> None:
    data = f"<{text}>".encode()
    assert passed(data) == passed(data, step=1) == data


@pytest.mark.parametrize("text", REFUSED)
def test_what_reaches_beyond_the_screen_is_refused(text: str) -> None:
    data = f"<{text}>".encode()
    shown = passed(data)
    assert shown == passed(data, step=1)
    assert not set("\x1b\x05\x90\x9b\x9c") & set(shown.decode())


@pytest.mark.parametrize("text", QUERIES)
def test_nothing_that_the_terminal_would_answer_is_let_through(text: str) -> None:
    data = f"<{text}>".encode()
    assert passed(data) == passed(data, step=1) == b"<>"


def test_a_string_without_an_end_is_dropped_and_not_kept() -> None:
    guarded = AttachedFilter()
    assert guarded.feed(b"a\x1b]52;c;") == b"a"
    for _ in range(100):
        assert guarded.feed(b"x" * 4096) == b""
    assert guarded.feed(b"\x07b") == b"b"


def test_leaving_undoes_the_alternate_screen_only_where_it_is_on() -> None:
    guarded = AttachedFilter()
    guarded.feed(b"\x1b[?1049h")
    assert guarded.restoring().startswith(b"\x1b[?1049l")
    guarded.feed(b"\x1b[?1049l")
    assert b"1049" not in guarded.restoring()


@given(
    st.lists(st.sampled_from([*LET_THROUGH, *REFUSED, "\x1b", "\x1b]", "\x1b[", "a"]), max_size=20), st.integers(1, 7)
)
def test_every_cutting_gives_the_same(words: list[str], step: int) -> None:
    data = "".join(words).encode()
    assert passed(data + b"\x18end") == passed(data + b"\x18end", step=step)


@given(st.binary(max_size=400))
def test_no_bytes_get_a_refused_sequence_through(data: bytes) -> None:
    shown = passed(data).decode()
    assert not set("\x05\x80\x90\x9b\x9d") & set(shown)
    for refused in ("\x1b]52", "\x1b]0", "\x1b]8", "\x1bP", "\x1b_", "\x1b^", "\x1bX"):
        assert refused not in shown
