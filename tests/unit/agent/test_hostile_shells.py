"""Whatever a hostile agent says of its shells, the client answers with a typed error or a sound value."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.agent import AgentSession, session
from pyro_mcp.agent.shells import GuestShells, ShellOutput
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import encode_document
from pyro_mcp.protocol.frames import encode, encode_stream
from tests.support.agents import PairTransport

if TYPE_CHECKING:
    from collections.abc import Callable

NONCE = bytes(range(wire.NONCE_BYTES))
IDENT = 1
INFO: dict[str, Any] = {
    "shell": "sh_a",
    "state": "running",
    "exit_code": None,
    "first": 0,
    "end": 9,
    "cols": 80,
    "rows": 24,
}
REPORT: dict[str, Any] = {**INFO, "context": 0, "start": 4, "stop": 9, "sizes": [[0, 80, 24]]}
END = {"exit_code": 0, "timed_out": False, "cancelled": False, "duration_ms": 1}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**65) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def known_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.urandom

    def urandom(count: int) -> bytes:
        return NONCE if count == len(NONCE) else real(count)

    monkeypatch.setattr(session.os, "urandom", urandom)


def answered(frames: bytes, ask: Callable[[GuestShells], Any]) -> Any:
    """Return what the client makes of an agent that says `frames`, whatever it is asked."""
    pair = PairTransport()
    try:
        document: dict[str, object] = {"generation": wire.GENERATION, "agent": "x", "features": [], "configured": True}
        pair.theirs.sendall(NONCE + encode(0, wire.READY, encode_document(document)) + frames)
        with AgentSession.open(pair, timeout_s=5) as opened:
            # Whoever wants to hear more than was said waits in vain, and is told so at once.
            pair.theirs.shutdown(1)
            return ask(GuestShells(opened))
    finally:
        pair.close()


def as_result(document: object) -> bytes:
    return encode(IDENT, wire.RESULT, json.dumps(document).encode())


def reading(report: object, data: bytes) -> bytes:
    said = encode(IDENT, wire.STDERR, json.dumps(report).encode())
    return said + encode_stream(IDENT, wire.STDOUT, data) + as_result(END)


def read(shells: GuestShells) -> ShellOutput:
    return shells.read("sh_a", 4, max_bytes=5, context_bytes=4)


def open_one(opened: GuestShells) -> object:
    return opened.open("sh_a", cwd="/", cols=80, rows=24, env={})


def assert_breach(frames: bytes, ask: Callable[[GuestShells], Any]) -> None:
    with pytest.raises(PyroError) as caught:
        answered(frames, ask)
    assert caught.value.code is ErrorCode.PROTOCOL, caught.value


def test_a_sound_reading_is_taken() -> None:
    output: ShellOutput = answered(reading(REPORT, b"contXdata"), read)
    assert (output.context, output.data, output.stop) == (b"cont", b"Xdata", 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"shell": "sh_b"}, {"shell": 3}, {"shell": "x" * 101}, {"state": "odd"}, {"state": []}, {"exit_code": 0},
        {"state": "exited"}, {"state": "exited", "exit_code": 256}, {"state": "exited", "exit_code": True}, {"end": 8},
        {"end": -1}, {"end": 1 << 61}, {"start": 10}, {"stop": 3}, {"context": 5}, {"context": -1}, {"start": 4.0},
        {"cols": 0}, {"rows": 10_000}, {"sizes": []}, {"sizes": [[0, 80]]}, {"sizes": [[0, 80, True]]},
        {"sizes": [[0, 80, 24]] * 65}, {"sizes": [[5, 80, 24], [4, 80, 24]]}, {"sizes": [[0, 80, 0]]}, {"sizes": 3},
        {"first": 1 << 40},
    ],
)  # fmt: skip
def test_a_report_that_makes_no_sense_is_a_breach(changes: dict[str, Any]) -> None:
    assert_breach(reading({**REPORT, **changes}, b"contXdata"), read)


@pytest.mark.parametrize("data", [b"", b"contXdat", b"contXdata!", b"x" * 100_000])
def test_more_or_less_than_announced_is_a_breach(data: bytes) -> None:
    assert_breach(reading(REPORT, data), read)


def test_more_than_was_asked_for_is_a_breach() -> None:
    more = {**REPORT, "stop": 10, "end": 10}
    assert_breach(reading(more, b"contXdata!"), read)


def test_a_reading_without_a_report_or_with_two_is_a_breach() -> None:
    assert_breach(as_result(END), read)
    said = encode(IDENT, wire.STDERR, json.dumps(REPORT).encode())
    assert_breach(said + said + as_result(END), read)


@pytest.mark.parametrize("found", [None, {}, "x", [1], [{**INFO, "cols": "80"}], [INFO] * 17])
def test_a_list_that_makes_no_sense_is_a_breach(found: object) -> None:
    assert_breach(as_result({"shells": found}), lambda shells: shells.list())


def test_a_failure_keeps_none_of_the_guests_own_words() -> None:
    document = {"code": wire.NO_SUCH_SHELL, "message": "\x1b]0;title\x07 and lies"}
    with pytest.raises(PyroError, match="there is no such shell") as caught:
        answered(encode(IDENT, wire.FAILURE, json.dumps(document).encode()), open_one)
    assert "lies" not in caught.value.message


@given(st.dictionaries(st.sampled_from([*REPORT, "more"]), JSON, max_size=6), st.binary(max_size=12))
def test_no_report_breaks_the_client(changes: dict[str, Any], data: bytes) -> None:
    try:
        output: ShellOutput = answered(reading({**REPORT, **changes}, data), read)
    except PyroError as error:
        code = error.code
    else:
        assert output.info.shell == "sh_a"
        assert len(output.data) <= 5
        assert 4 <= output.start <= output.stop <= output.info.end
        return
    assert code in {ErrorCode.PROTOCOL, ErrorCode.INVALID}


@given(JSON)
def test_no_answer_breaks_the_client(document: object) -> None:
    with pytest.raises(PyroError):
        answered(as_result(document), open_one)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_client(data: bytes) -> None:
    with pytest.raises(PyroError) as caught:
        answered(data, read)
    assert caught.value.code in {ErrorCode.PROTOCOL, ErrorCode.GUEST_LOST}
