"""Whatever a hostile agent says, or leaves unsaid, the client answers with a typed error, in time, within bounds."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.agent import AgentSession, ExecRequest, Flavour, GuestConfig, channel, exchange, session
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import encode_document
from pyro_mcp.protocol.frames import encode
from tests.support.agents import PairTransport
from tests.support.thorough import examples

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

    from pyro_mcp.agent import ExecResult

NONCE = bytes(range(wire.NONCE_BYTES))
#: What the client may come to, whatever is said to it.
EXPECTED = {
    ErrorCode.GUEST_LOST,
    ErrorCode.PROTOCOL,
    ErrorCode.UNSUPPORTED,
    ErrorCode.TIMEOUT,
    ErrorCode.NOT_FOUND,
    ErrorCode.PERMISSION,
    ErrorCode.INVALID,
    ErrorCode.CONFLICT,
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERNAL,
}
MAX_BYTES = 64 * 1024 * 1024
CONFIG = GuestConfig(hostname="guest-test01", machine_id="0" * 32)
SOON_S = 0.3
# The ids that a client gives: the first request, or with a configuration that and then the command.
FIRST, SECOND = 1, 2


@pytest.fixture(autouse=True)
def known_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests' peers answer before they were greeted."""
    real = os.urandom

    def urandom(count: int) -> bytes:
        return NONCE if count == len(NONCE) else real(count)

    monkeypatch.setattr(session.os, "urandom", urandom)


@pytest.fixture
def pair() -> Generator[PairTransport]:
    transport = PairTransport()
    yield transport
    transport.close()


def ready(**changes: object) -> bytes:
    document = {"generation": wire.GENERATION, "agent": "x", "features": ["exec"], "configured": True, **changes}
    return NONCE + encode(0, wire.READY, encode_document(document))


def result(ident: int = FIRST, **changes: object) -> bytes:
    document = {
        "exit_code": 0,
        "timed_out": False,
        "cancelled": False,
        "oom_killed": False,
        "duration_ms": 1,
        **changes,
    }
    return encode(ident, wire.RESULT, json.dumps(document).encode())


def run_true(opened: AgentSession, timeout_s: float = SOON_S) -> Any:
    return opened.exec(ExecRequest(("true",), timeout_s=timeout_s), stdin=b"x")


def said(
    pair: PairTransport, data: bytes, ask: Callable[[AgentSession], Any] = run_true, *, hang_up: bool = True
) -> Any:
    """Return what a client makes of a peer that says this and, if so wanted, hangs up."""
    pair.theirs.setblocking(False)
    pair.theirs.sendall(data)
    if hang_up:
        pair.theirs.shutdown(1)
    with AgentSession.open(pair, timeout_s=1) as opened:
        return ask(opened)


def complaint(
    pair: PairTransport, data: bytes, ask: Callable[[AgentSession], Any] = run_true, **how: bool
) -> PyroError:
    with pytest.raises(PyroError) as caught:
        said(pair, data, ask, **how)
    return caught.value


fields = st.sampled_from(["exit_code", "duration_ms", "code", "generation", "features", "timed_out"])
field_values = st.integers() | st.text() | st.none() | st.lists(st.integers(), max_size=2)
documents = st.dictionaries(fields, field_values, max_size=6)
json_bodies = st.binary(max_size=60) | documents.map(lambda document: json.dumps(document).encode())
kinds = st.sampled_from([*wire.GUEST_LIMITS, *wire.HOST_LIMITS, 0, 99, 255])
idents = st.sampled_from([0, FIRST, SECOND, 3, 2**32 - 1])
hostile_frames = st.builds(encode, idents, kinds, json_bodies | st.binary(max_size=6))
segments = st.one_of(
    hostile_frames,
    st.just(ready()),
    st.just(result()),
    st.just(result(SECOND)),
    st.builds(encode, idents, st.sampled_from([wire.STDOUT, wire.STDERR]), st.binary(max_size=100)),
    st.binary(max_size=30),
    st.sampled_from([NONCE, wire.LANE_MAGIC, struct.pack("<IIB", 2**32 - 1, FIRST, wire.STDOUT)]),
)
speeches = st.lists(segments, max_size=12).map(b"".join)


def ping(opened: AgentSession) -> None:
    opened.ping(timeout_s=SOON_S)


def configure(opened: AgentSession) -> None:
    opened.configure(CONFIG, timeout_s=SOON_S)


def begin(opened: AgentSession) -> ExecResult:
    return opened.exec(ExecRequest(("true",), timeout_s=SOON_S), config=CONFIG)


def test_a_preparation_names_its_flavour(pair: PairTransport) -> None:
    answer = encode(FIRST, wire.RESULT, b"{}")
    said(pair, ready() + answer, lambda opened: opened.prepare(Flavour.ATTACH, timeout_s=SOON_S), hang_up=False)
    assert encode_document({"op": "prepare", "flavour": "attach"}) in pair.theirs.recv(4096)


ASKS: list[Callable[[AgentSession], Any]] = [run_true, ping, configure, begin]


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    speech=st.one_of(speeches, speeches.map(lambda speech: ready() + speech)),
    ask=st.sampled_from(ASKS),
    cut=st.integers(0, 400),
)
def test_any_speech_is_a_result_or_a_typed_error(speech: bytes, ask: Callable[[AgentSession], Any], cut: int) -> None:
    pair = PairTransport()
    found: PyroError | None = None
    try:
        said(pair, speech[: len(speech) - cut] if cut < len(speech) else speech, ask)
    except PyroError as error:
        found = error
    finally:
        pair.close()
    assert found is None or (found.code in EXPECTED and found.message)


def test_a_sound_peer_is_understood(pair: PairTransport) -> None:
    found = said(pair, ready() + encode(FIRST, wire.STDOUT, b"abc") + result(exit_code=3))
    assert (found.exit_code, found.stdout_bytes) == (3, 3)


def test_what_an_earlier_session_left_in_the_lane_is_passed_over(pair: PairTransport) -> None:
    stale = encode(FIRST, wire.STDOUT, bytes(1000))[:-500] + wire.LANE_MAGIC + NONCE[:-1] + os.urandom(5000) + NONCE[:3]
    assert said(pair, stale + ready() + result()).exit_code == 0


def test_a_peer_that_never_greets_back_is_a_breach_after_a_bounded_flood(
    pair: PairTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_MAX_STALE_BYTES", 50_000)
    assert complaint(pair, bytes(100_000), hang_up=False).code is ErrorCode.PROTOCOL


@pytest.mark.parametrize(
    "data",
    [
        ready() + struct.pack("<IIB", 2**32 - 1, FIRST, wire.STDOUT),
        ready() + struct.pack("<IIB", 2**31, FIRST, wire.RESULT),
        ready() + encode(FIRST, 99),
        ready() + encode(FIRST, wire.REQUEST, b"{}"),
        ready() + encode(7, wire.STDOUT, b"for nobody"),
        ready() + encode(7, wire.RESULT, b"{}"),
        ready() + result(SECOND),
        ready() + ready()[len(NONCE) :],
        ready() + encode(FIRST, wire.RESULT, b"{}"),
        ready() + result(exit_code=256),
        ready() + result(exit_code=-1),
        ready() + result(exit_code="0"),
        ready() + result(exit_code=True),
        ready() + result(duration_ms=-1),
        ready() + result(duration_ms=float("nan")),
        ready() + encode(FIRST, wire.RESULT, b'{"exit_code":0,"exit_code":0,"duration_ms":1}'),
        ready() + encode(FIRST, wire.RESULT, b'{"exit_code":0,"duration_ms":1,"x":' + b"[" * 100_000),
        ready() + encode(FIRST, wire.FAILURE, b"{}"),
        ready() + encode(FIRST, wire.FAILURE, b'{"code":"made up"}'),
        ready() + encode(FIRST, wire.CREDIT, struct.pack(wire.CREDIT_FORMAT, 0, 2**32 - 1)),
        ready() + encode(FIRST, wire.CREDIT, struct.pack(wire.CREDIT_FORMAT, 1, 1)),
        ready() + encode(FIRST, wire.CREDIT, b"abc"),
        ready(generation="1") + result(),
        ready(features="exec") + result(),
        ready(features=["x"] * 100) + result(),
        NONCE + encode(5, wire.READY, b"{}"),
        NONCE + result(),
        NONCE + encode(0, wire.READY, b"[]"),
    ],
    ids=lambda data: repr(data[-24:]),
)
def test_what_breaks_the_protocol_is_called_a_breach(pair: PairTransport, data: bytes) -> None:
    error = complaint(pair, data)
    assert error.code is ErrorCode.PROTOCOL
    assert error.hint


def test_another_generation_is_said_to_be_one(pair: PairTransport) -> None:
    error = complaint(pair, ready(generation=wire.GENERATION + 6) + result())
    assert error.code is ErrorCode.UNSUPPORTED
    assert str(wire.GENERATION + 6) in error.message


def test_a_peer_that_hangs_up_is_lost(pair: PairTransport) -> None:
    for data in (b"", ready(), ready() + encode(FIRST, wire.STDOUT, b"abc"), ready() + result()[:-1]):
        other = PairTransport()
        try:
            assert complaint(other, data).code is ErrorCode.GUEST_LOST
        finally:
            other.close()


def test_silence_ends_at_the_deadline_and_says_what_was_waited_for(pair: PairTransport) -> None:
    error = complaint(pair, b"", lambda opened: opened.ping(timeout_s=0.05), hang_up=False)
    assert error.code is ErrorCode.TIMEOUT
    assert error.details["waited_for"] == "the guest's agent to answer a ping"


def test_silence_after_a_command_ends_some_time_after_its_own_timeout(
    pair: PairTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GRACE_S", 0.05)
    error = complaint(pair, ready(), lambda opened: run_true(opened, 0.05), hang_up=False)
    assert error.code is ErrorCode.TIMEOUT
    assert "run the command" in error.message


def test_a_session_is_over_after_a_breach(pair: PairTransport) -> None:
    pair.theirs.sendall(ready() + encode(FIRST, 99))
    with AgentSession.open(pair, timeout_s=1) as opened:
        with pytest.raises(PyroError):
            opened.ping()
        with pytest.raises(PyroError) as caught:
            opened.ping()
    assert caught.value.code is ErrorCode.GUEST_LOST


@contextlib.contextmanager
def speaking(peer: socket.socket, speak: Callable[[Callable[[bytes], None]], None]) -> Generator[None]:
    """Let a thread be the peer until the test hangs up."""

    def say(data: bytes) -> None:
        peer.sendall(data)

    def run() -> None:
        with contextlib.suppress(OSError):
            speak(say)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        peer.shutdown(2)
        thread.join()


def endlessly(data: bytes) -> Callable[[Callable[[bytes], None]], None]:
    def speak(say: Callable[[bytes], None]) -> None:
        say(ready())
        while True:
            say(data)

    return speak


@pytest.mark.parametrize("size", [0, 1, wire.MAX_DATA_BYTES])
def test_an_endless_stream_ends_at_the_last_deadline_in_little_memory(
    pair: PairTransport, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(exchange, "GRACE_S", 0.2)
    data = encode(FIRST, wire.STDERR, bytes(size))
    tracemalloc.start()
    try:
        with (
            speaking(pair.theirs, endlessly(data * max(1, 10_000 // (size + 1)))),
            AgentSession.open(pair, timeout_s=1) as opened,
        ):
            with pytest.raises(PyroError) as caught:
                run_true(opened, 0.2)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code in {ErrorCode.TIMEOUT, ErrorCode.PROTOCOL}
    assert peak < MAX_BYTES / 8


def test_an_answer_that_comes_a_byte_at_a_time_is_waited_for_no_longer_than_any(pair: PairTransport) -> None:
    hold = threading.Event()

    def drip(say: Callable[[bytes], None]) -> None:
        say(ready())
        for byte in struct.pack("<IIB", 5 + 100_000, FIRST, wire.RESULT) + bytes(100_000):
            say(bytes([byte]))
            hold.wait(0.01)

    with speaking(pair.theirs, drip), AgentSession.open(pair, timeout_s=1) as opened:
        with pytest.raises(PyroError) as caught:
            opened.ping(timeout_s=SOON_S)
        hold.set()
    assert caught.value.code is ErrorCode.TIMEOUT


def test_the_longest_frames_that_may_come_take_little_memory(pair: PairTransport) -> None:
    body = b'{"exit_code":0,"duration_ms":1,"x":[' + b"{}," * 340_000 + b"{}]}"
    assert wire.MAX_JSON_BYTES - 50_000 < len(body) < wire.MAX_JSON_BYTES

    def speak(say: Callable[[bytes], None]) -> None:
        say(ready() + encode(FIRST, wire.RESULT, body))

    tracemalloc.start()
    try:
        with speaking(pair.theirs, speak), AgentSession.open(pair, timeout_s=1) as opened:
            assert run_true(opened, 30).exit_code == 0
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES


def test_a_failures_words_lose_what_a_terminal_would_obey(pair: PairTransport) -> None:
    document = encode_document({"code": wire.SYSTEM, "message": "\x1b]52;c;x\x07\u202e\x9b31m" + "y" * 5000})
    error = complaint(pair, ready() + encode(FIRST, wire.FAILURE, document))
    assert error.message.isprintable()
    assert len(error.message) < 700


def test_a_duration_can_not_be_longer_than_the_wait_was(pair: PairTransport) -> None:
    assert said(pair, ready() + result(duration_ms=10**9)).duration_ms < 60_000
