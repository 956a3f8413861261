"""Whatever a hostile guest says of its services, the host answers with a typed error, within bounds."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.agent.messages import Stream
from pyro_mcp.agent.services import GuestServices, ServiceReport, ServiceStart
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import services as words
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import encode
from pyro_mcp.workspace.services.publishing.relay import Relay
from tests.support.thorough import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.agent.messages import Request

REPORT: dict[str, Any] = {
    "service": "web", "run": "r", "state": "running", "exit_code": None, "ready_ms": 5, "problem": "", "detail": "",
    "first": 0, "end": 10,
}  # fmt: skip
START = ServiceStart(name="web", run="r", argv=("true",), cwd="/")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=300), st.lists(st.integers(), max_size=3),
    st.sampled_from(sorted(words.STATES)), st.sampled_from([255, 256, -1, 1 << 70]),
)  # fmt: skip


class Liar:
    """Stands for a session with an agent that answers what the test likes."""

    def __init__(self, *said: tuple[Stream, bytes]) -> None:
        self._said = said

    def stream(self, request: Request, *, on_output: Callable[[Stream, bytes], None], **_: object) -> None:
        assert json.loads(request.body(stdin=False))
        for stream, data in self._said:
            on_output(stream, data)


def guest(*said: tuple[Stream, bytes]) -> GuestServices:
    return GuestServices(Liar(*said))  # type: ignore[arg-type]


def document(**changes: object) -> tuple[Stream, bytes]:
    return Stream.STDERR, json.dumps({**REPORT, **changes}).encode()


def asking(services: GuestServices) -> list[Callable[[], object]]:
    return [
        lambda: services.start(START),
        lambda: services.stop("web", grace_s=1),
        lambda: services.logs("web", 0, count=10),
    ]


def test_an_honest_guest_is_believed() -> None:
    assert guest(document()).start(START).report == guest(document()).start(START).report
    assert isinstance(guest((Stream.STDERR, json.dumps({"services": [REPORT]}).encode())).list()[0], ServiceReport)
    part = guest(document(start=4), (Stream.STDOUT, b"abc")).logs("web", 4, count=10)
    assert (part.start, part.data) == (4, b"abc")


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "other"}, {"run": "another"}, {"state": "flying"}, {"state": "starting"}, {"exit_code": 3},
        {"state": "exited"}, {"state": "failed", "exit_code": 999}, {"ready_ms": -1}, {"ready_ms": 1 << 61},
        {"ready_ms": 10**8}, {"problem": "x"}, {"detail": 3}, {"first": 11}, {"end": "10"}, {"service": "w" * 200},
    ],
)  # fmt: skip
def test_a_report_that_makes_no_sense_is_a_breach(changes: dict[str, object]) -> None:
    with pytest.raises(PyroError) as breach:
        guest(document(**changes)).start(START)
    assert breach.value.code is ErrorCode.PROTOCOL


def test_more_than_was_asked_for_is_a_breach() -> None:
    flood = (Stream.STDOUT, b"x" * 60_000)
    for lies in (
        (),
        (document(), document()),
        (document(start=0), (Stream.STDOUT, b"x" * 11)),
        (document(start=8), (Stream.STDOUT, b"xxx")),
        (document(start=0), *[flood] * 10),
        ((Stream.STDERR, b"[" * 100_000),),
    ):
        with pytest.raises(PyroError) as breach:
            guest(*lies).logs("web", 0, count=10)
        assert breach.value.code is ErrorCode.PROTOCOL
    many = [{**REPORT, "service": str(each)} for each in range(17)]
    lists: list[object] = [[REPORT, REPORT], many, {}, [3]]
    for listed in lists:
        with pytest.raises(PyroError) as breach:
            guest((Stream.STDERR, json.dumps({"services": listed}).encode())).list()
        assert breach.value.code is ErrorCode.PROTOCOL


def test_a_guests_words_can_not_drive_a_terminal() -> None:
    report = guest(document(detail="\x1b]52;c;AAAA\x07" + "x" * 500)).start(START).report
    assert report.detail.isprintable()
    assert len(report.detail) <= 200


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted([*REPORT, "start"])), VALUES), st.binary(max_size=20))
def test_whatever_is_said_is_believed_or_refused(changes: dict[str, object], data: bytes) -> None:
    for ask in asking(
        guest(document(start=0, **changes) if "start" not in changes else document(**changes), (Stream.STDOUT, data))
    ):
        with suppress(PyroError):
            ask()


@pytest.fixture
def ends() -> Generator[tuple[socket.socket, socket.socket, socket.socket]]:
    """Give a relay's lane, the guest's end of it, and a listener."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        theirs.settimeout(10)
        yield ours, theirs, listener


def word(number: int, what: int, data: bytes = b"") -> bytes:
    return encode(1, wire.STDOUT, number.to_bytes(4, "little") + bytes([what]) + data)


LISTENING = word(0, words.LISTENING)


@pytest.mark.parametrize(
    "lies",
    [
        [b"\xff" * 64],
        [encode(2, wire.STDOUT, b"12345")],
        [encode(1, wire.STDERR, b"{}")],
        [encode(1, wire.STDOUT, b"1")],
        [LISTENING, word(1, 77)],
        [LISTENING, word(1, words.CREDIT, (1 << 30).to_bytes(4, "little"))],
        [LISTENING, word(1, words.SHUT), word(1, words.DATA, b"after the end")],
        [LISTENING, *[word(1, words.DATA, bytes(60_000))] * 400],
    ],
)
def test_a_relay_ends_when_a_guest_does_what_it_may_not(
    ends: tuple[socket.socket, socket.socket, socket.socket], lies: list[bytes]
) -> None:
    lane, theirs, listener = ends
    relay = Relay(lane, [(listener, 80)], lambda: None)
    found: list[PyroError] = []

    def carry() -> None:
        try:
            relay.run(b"{}")
        except PyroError as error:
            found.append(error)
        finally:
            lane.close()

    thread = threading.Thread(target=carry)
    thread.start()
    with socket.create_connection(listener.getsockname()):
        with suppress(OSError):
            for each in lies:
                theirs.sendall(each)
                if each == LISTENING:
                    # The guest knows of the connection before it lies about it.
                    said = b""
                    while b"\x01\x00\x00\x00\x01" not in said:
                        said += theirs.recv(4096)
        thread.join(10)
    assert not thread.is_alive()
    assert [error.code for error in found] == [ErrorCode.PROTOCOL]


def test_words_about_connections_that_are_no_more_are_late_and_not_wrong(
    ends: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    lane, theirs, listener = ends
    thread = threading.Thread(target=Relay(lane, [(listener, 80)], lambda: None).run, args=(b"{}",))
    thread.start()
    theirs.sendall(LISTENING + word(9, words.DATA, b"?") + word(9, words.RESET) + word(9, words.CREDIT, bytes(4)))
    theirs.sendall(encode(1, wire.RESULT, b"{}"))
    thread.join(10)
    assert not thread.is_alive()
