"""Values leave no trace in a stream: whatever a shell makes of them, wherever lines are broken, however it is cut."""

from __future__ import annotations

import base64
import json
import shlex
import urllib.parse
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pyro_mcp.workspace.secrets.forms import BLANKS
from pyro_mcp.workspace.secrets.redactor import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "ghp_Zx81kQ/va+7Tn=="
AWKWARD = 'it\'s a "té/st" [.*]+(x)\\ $HOME\tend?'
PEM = "-----BEGIN KEY-----\nMIIBOgIBAAJBAK\nzj3ux+/kdPq\n-----END KEY-----\n"
VALUES = [TOKEN, AWKWARD, PEM, "pässwörd", "a\0b\0cd", "hunter2 hunter2", "1234", "aaaaaaaa"]


def _bash_quoted(value: str) -> bytes:
    return b"".join(b"\\%c" % byte if chr(byte) in " \"'$[]*()\\?" else bytes([byte]) for byte in value.encode())


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "base64": lambda value: base64.b64encode(value.encode()),
    "base64 after one byte": lambda value: base64.b64encode(b"x" + value.encode() + b"y"),
    "base64 after two bytes": lambda value: base64.b64encode(b"u:" + value.encode() + b"\n"),
    "base64 of three more": lambda value: base64.b64encode(b"abc" + value.encode() + b"zz"),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(b"\xff\xff" + value.encode()),
    "hex": lambda value: value.encode().hex().encode(),
    "upper hex": lambda value: value.encode().hex().upper().encode(),
    "hex as od prints it": lambda value: value.encode().hex(" ").encode(),
    "URL": lambda value: urllib.parse.quote(value, safe="").encode(),
    "URL with slashes": lambda value: urllib.parse.quote(value).encode(),
    "URL as browsers do it": lambda value: urllib.parse.quote(value, safe="!'()*").encode(),
    "form": lambda value: urllib.parse.quote_plus(value).encode(),
    "URL in lower case": lambda value: urllib.parse.quote(value, safe="").lower().encode() if "%" in value else b"",
    "every byte for a URL": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()).encode(),
    "JSON": lambda value: json.dumps(value).encode(),
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)).encode(),
    "JSON with escaped slashes": lambda value: json.dumps(value).replace("/", "\\/").encode(),
    "quoted for a shell": lambda value: shlex.quote(value).encode(),
    "quoted by bash": _bash_quoted,
    "Python": lambda value: repr(value).encode(),
    "Python's bytes": lambda value: repr(value.encode()).encode(),
}


def _folded(text: bytes, width: int, line_end: bytes) -> bytes:
    return line_end.join(text[at : at + width] for at in range(0, len(text), width))


def _ink(text: bytes) -> bytes:
    return text.translate(None, BLANKS)


def _core(value: str, encoded: bytes) -> bytes:
    """Return what of an encoding must not be seen any more: less its ends, which depend on what is around it."""
    return _ink(encoded.strip(b"\"'b="))[2:-4] if len(value.encode()) > 7 else _ink(encoded.strip(b"\"'b="))


def _in_pieces(redactor: Redactor, data: bytes, sizes: list[int]) -> bytes:
    stream, at = redactor.stream(), 0
    out: list[bytes] = []
    for size in sizes:
        out.append(stream.feed(data[at : at + size]))
        at += size
    return b"".join([*out, stream.feed(data[at:]), stream.finish()])


@pytest.mark.parametrize(
    "line_end", [b"", b"\n", b"\r\n", b" \r", b"\r"], ids=["whole", "lf", "crlf", "readline", "cr"]
)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", VALUES)
def test_what_a_shell_makes_of_a_value_is_redacted_byte_by_byte(value: str, encoding: str, line_end: bytes) -> None:
    encoded = ENCODINGS[encoding](value)
    whole = encoded if not line_end else _folded(encoded, 5, line_end)
    if not encoded:
        return
    redactor = Redactor([value])
    passed = redactor.data(b"<< " + whole + b" >>")
    assert REDACTED in passed
    assert _core(value, encoded) not in _ink(passed)
    assert passed.startswith(b"<< ")
    assert passed.endswith(b" >>")
    assert _in_pieces(redactor, b"<< " + whole + b" >>", [1] * (len(whole) + 6)) == passed


@given(
    values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4),
    parts=st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from([" ", "\n", "\r\n", " \r", "\r" * 40, "a", "aaa", "hunter2", "12", "ghp_"]).map(str.encode),
            st.tuples(st.sampled_from(VALUES), st.sampled_from(sorted(ENCODINGS))).map(
                lambda pair: ENCODINGS[pair[1]](pair[0])
            ),
            st.tuples(st.sampled_from(VALUES), st.integers(1, 9), st.sampled_from([b"\n", b"\r\n", b" \r"])).map(
                lambda made: _folded(made[0].encode(), made[1], made[2])
            ),
            st.tuples(st.sampled_from(VALUES), st.integers(1, 30)).map(lambda cut: cut[0].encode()[: cut[1]]),
        ),
        max_size=10,
    ),
    sizes=st.lists(st.integers(0, 9), max_size=60),
)
def test_a_stream_comes_out_the_same_however_it_is_cut(values: list[str], parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    redactor = Redactor(values)
    passed = redactor.data(data)
    assert _in_pieces(redactor, data, sizes) == passed
    assert _in_pieces(redactor, data, [1] * len(data)) == passed
    for value in values:
        assert value.encode() not in passed


@given(
    value=st.text(min_size=4, max_size=40).filter(lambda text: len(text.encode("utf-8", "replace").strip(BLANKS)) >= 4),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
    sizes=st.lists(st.integers(1, 7), max_size=30),
)
@example(value="ab ab ab", before=b"ab ", after=b" ab", sizes=[])
def test_any_value_is_redacted_anywhere(value: str, before: bytes, after: bytes, sizes: list[int]) -> None:
    assume(all(not 0xD800 <= ord(character) < 0xE000 for character in value))
    assume(len("".join(value.split(" ")).translate({13: None, 10: None}).encode()) >= 4)
    redactor = Redactor([value])
    for encoded in (value.encode(), base64.b64encode(before + value.encode() + after), value.encode().hex().encode()):
        data = b"{" + encoded + b"}"
        passed = _in_pieces(redactor, data, sizes)
        assert REDACTED in passed
        assert value.strip().encode() not in passed


@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(1, 20), max_size=30))
def test_what_holds_no_value_comes_out_as_it_went_in(data: bytes, sizes: list[int]) -> None:
    redactor = Redactor([TOKEN, AWKWARD, PEM])
    assert _in_pieces(redactor, data, sizes) == data


@pytest.mark.parametrize(
    "text",
    ["hunter3 hunter2", "hunter2  x hunter2", "hunter2hunter2", "Hunter2 Hunter2", "hunter2" + "\n" * 60 + "hunter2"],
)
def test_what_only_resembles_a_value_is_left_alone(text: str) -> None:
    assert Redactor(["hunter2 hunter2"]).text(text) == text


def test_a_value_that_a_shell_split_into_words_is_redacted() -> None:
    redactor = Redactor(["first line\n  second  word\n"])
    assert redactor.text("<first line second word>") == "<[REDACTED]>"
    assert redactor.text("<first line  second  word>") == "<[REDACTED]>"


@pytest.mark.parametrize("width", range(1, 20))
def test_a_line_editor_that_wraps_within_a_values_spaces_does_not_hide_it(width: int) -> None:
    assert Redactor([AWKWARD]).data(_folded(AWKWARD.encode(), width, b" \r")) == REDACTED


def test_each_value_has_a_mark_of_its_own_and_overlapping_ones_share_one() -> None:
    redactor = Redactor(["abcd", "cdef", "wxyz", "abcdefgh"])
    assert redactor.text("abcdwxyz abcdef abcdefgh") == "[REDACTED][REDACTED] [REDACTED] [REDACTED]"
    assert redactor.text("abcdefg") == "[REDACTED]g"


def test_a_run_of_overlapping_values_is_one_mark_and_nothing_of_it_is_kept() -> None:
    redactor = Redactor(["abab"])
    stream = redactor.stream()
    out = b"".join(stream.feed(b"ab") for _ in range(5000))
    assert stream.held_bytes <= 4
    assert out + stream.finish() == REDACTED


@pytest.mark.parametrize("value", VALUES)
def test_only_the_beginning_of_a_value_is_held_back(value: str) -> None:
    stream = Redactor([value]).stream()
    assert stream.feed(b"a prompt is shown at once: $ ") == b"a prompt is shown at once: $ "
    beginning = value.strip().encode()[:3]
    assert stream.feed(b"#" + beginning) == b"#"
    assert stream.finish() == beginning


def test_what_only_looks_like_the_beginning_of_a_value_is_not_held_back() -> None:
    stream = Redactor(["Password-1"]).stream()
    assert stream.feed(b"is it up\n") == b"is it up\n"
    assert stream.feed(b"is it Pass") == b"is it "
    assert stream.feed(b"word") == b""
    assert stream.feed(b"+") == b"Password+"


def test_a_stream_that_rests_shows_what_is_most_probably_no_value() -> None:
    redactor = Redactor(["8080-is-the-code"])
    stream = redactor.stream()
    assert stream.feed(b"listening on 8080 and 8\n") == b"listening on 8080 and "
    assert stream.settle() == b"8\n"
    assert stream.settle() == b""
    assert stream.feed(b"done\n") == b"done\n"
    assert stream.feed(b"at 8") == b"at "
    assert stream.settle() == b"8"
    # Somebody writes a value slowly.
    assert stream.feed(b"08") + stream.settle() == b"08"
    assert stream.feed(b"0-is") + stream.settle() == b""
    assert stream.feed(b"-the-code\n") == b"[REDACTED]\n"
    assert stream.feed(b"808") + stream.settle() == b"808"
    assert stream.finish() == b""
    short = Redactor(["8080"]).stream()
    assert short.feed(b"80") + short.settle() == b""
    assert short.finish() == b"80"


@given(
    parts=st.lists(
        st.one_of(
            st.sampled_from([b"80", b"8080-is", b"8080-is-the-code", b"code", b" \r", b"\n"]), st.binary(max_size=3)
        ),
        max_size=12,
    ),
    rests=st.sets(st.integers(0, 80)),
)
def test_rests_change_nothing_but_what_is_shown_of_a_values_first_characters(
    parts: list[bytes], rests: set[int]
) -> None:
    data, redactor = b"".join(parts), Redactor(["8080-is-the-code"])
    stream = redactor.stream()
    out = b""
    for at in range(len(data)):
        out += stream.feed(data[at : at + 1])
        out += stream.settle() if at in rests else b""
    out += stream.finish()
    assert out.count(REDACTED) == redactor.data(data).count(REDACTED)
    if REDACTED not in out:
        assert out == data
    assert b"8080-is-the-code" not in out


def test_who_reads_by_cursor_is_told_where_marks_stand_and_what_may_begin_a_value() -> None:
    redactor = Redactor(["8080-is-the-code", "is-the-c"])
    assert redactor.covered(b"at 8080-is-the-code, 8080-is") == ([(3, 19)], 21)
    assert redactor.covered(b"on port 8080\n") == ([], 8)
    assert redactor.covered(b"with 8\r\n") == ([], 8)
    assert redactor.covered(b"with 8") == ([], 5)
    assert Redactor([]).covered(b"anything") == ([], 8)


def test_what_is_held_back_is_bounded_whatever_comes() -> None:
    value = "k" + "0123456789" * 10
    stream = Redactor([value]).stream()
    for data in (b"k" * 100_000, b"k01" + b"\n" * 100_000, b"k0 \r" * 50_000, value.encode()[:-1] * 1000):
        stream.feed(data)
        assert stream.held_bytes <= 20 * len(value)


def test_lines_that_are_broken_too_far_apart_are_no_broken_value() -> None:
    redactor = Redactor(["abcdefgh"])
    assert redactor.text("abcd\r\nefgh") == "[REDACTED]"
    apart = "abcd" + "\n" * 100 + "efgh"
    assert redactor.text(apart) == apart
    assert _in_pieces(redactor, apart.encode(), [1] * len(apart)) == apart.encode()


def test_many_values_are_all_redacted() -> None:
    values = [f"value-{number:03}-of-many" for number in range(64)]
    text = Redactor(values).text(" | ".join(values))
    assert text == " | ".join(["[REDACTED]"] * 64)


MANY = [f"{number:02}-of-many-{'x' * (number % 23)}" for number in range(40)]


@given(
    parts=st.lists(
        st.one_of(
            st.sampled_from(MANY).map(str.encode),
            st.sampled_from(MANY).map(lambda value: base64.b64encode(b"?" + value.encode())),
            st.sampled_from(MANY).map(lambda value: _folded(value.encode().hex().encode(), 7, b"\r\n")),
            st.sampled_from(MANY).map(lambda value: value[:-1].encode()),
            st.binary(max_size=40),
        ),
        max_size=12,
    ),
    sizes=st.lists(st.integers(1, 90), max_size=40),
)
def test_many_values_are_found_as_few_are(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    many, few = _of_many_and_of_each()
    passed = many.data(data)
    assert _in_pieces(many, data, sizes) == passed
    covered = [each.covered(data) for each in few]
    found, end = many.covered(data)
    assert [start for start, _ in found] == _beginnings(sorted({span for spans, _ in covered for span in spans}))
    assert end == min(end for _, end in covered)


@cache
def _of_many_and_of_each() -> tuple[Redactor, list[Redactor]]:
    return Redactor(MANY), [Redactor([value]) for value in MANY]


def _beginnings(spans: list[tuple[int, int]]) -> list[int]:
    """Return where groups of overlapping spans begin."""
    starts: list[int] = []
    end = 0
    for start, stop in spans:
        if not starts or start >= end:
            starts.append(start)
        end = max(end, stop)
    return starts


def test_without_values_nothing_is_looked_at() -> None:
    redactor = Redactor([])
    data = b"anything"
    assert redactor.is_idle
    assert redactor.stream().feed(data) is data
    assert redactor.text("\ud800") == "\ud800"


def test_a_very_long_value_is_redacted_in_all_its_forms() -> None:
    value = "".join(chr(33 + (number * 7919) % 90) for number in range(65536))
    redactor = Redactor([value])
    for encoding in ("as it is", "base64 after one byte", "upper hex", "URL", "JSON"):
        encoded = ENCODINGS[encoding](value)
        assert len(_in_pieces(redactor, _folded(encoded, 76, b"\r\n"), [4096] * 60)) < 32
