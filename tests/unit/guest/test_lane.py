"""A lane finds its sessions whatever was in it before, and keeps within bounds when nobody reads it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.guest.lane import Lane
from pyro_mcp.guest.operations import Operations
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import decode_trusted, encode_document
from pyro_mcp.protocol.frames import Decoder, Frame, encode
from pyro_mcp.protocol.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.guest.processes.standby import Standby
    from pyro_mcp.guest.task_intake import TaskIntake
    from pyro_mcp.protocol.documents import Document

NONCE = bytes(range(100, 100 + wire.NONCE_BYTES))


class QuietMachine:
    """A machine that only takes note of what it is asked for."""

    features = ("test",)

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.asked: list[object] = []

    def open_terminal(self) -> int:
        raise AssertionError("no shell is opened here")

    def file_version(self, path: bytes) -> None:
        del path
        raise AssertionError("no service is started here")

    @property
    def standby(self) -> Standby:
        raise AssertionError("no command is run here")

    @property
    def task_intake(self) -> TaskIntake:
        raise AssertionError("no task is done here")

    def prepare(self, document: Document) -> Document:
        self.asked.append(document["flavour"])
        return {"prepared": True}

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        self.asked.append((entropy, hostname, machine_id, rest))

    def keep_secret(self, document: Document) -> None:
        self.asked.append(document["name"])

    def set_clock(self, clock_ns: int) -> None:
        self.asked.append(clock_ns)

    def sync(self) -> None:
        raise OSError(5, "Input/output error")

    def power_off(self) -> None:
        self.asked.append("off")


class Host:
    """The host's end of a lane, and a loop with the agent's."""

    def __init__(self, *, is_connection: bool) -> None:
        self.loop = Loop()
        self.machine = QuietMachine(self.loop)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.socket = ours
        self.agent_fd = theirs.detach()
        operations = Operations(self.machine, agent_digest="digest")
        self.lane = Lane(self.agent_fd, self.loop, operations, is_connection=is_connection)

    def close(self) -> None:
        self.lane.close()
        self.socket.close()
        self.loop.close()

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)
            self.turn()

    def turn(self, steps: int = 3) -> None:
        for _ in range(steps):
            self.loop.later(lambda: None)
            self.loop.step()

    def heard(self) -> bytes:
        self.turn()
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except BlockingIOError:
            pass
        return data

    def answers(self) -> list[Frame]:
        data = self.heard()
        start = data.index(NONCE) + len(NONCE) if NONCE in data else 0
        return Decoder(wire.GUEST_LIMITS).feed(data[start:])


@pytest.fixture(params=[False, True], ids=["port", "connection"])
def host(request: pytest.FixtureRequest) -> Generator[Host]:
    host = Host(is_connection=request.param)
    yield host
    host.close()


@pytest.fixture
def port() -> Generator[Host]:
    host = Host(is_connection=False)
    yield host
    host.close()


def hello(clock_ns: int = 0) -> bytes:
    return encode(0, wire.HELLO, struct.pack(wire.HELLO_FORMAT, NONCE, wire.GENERATION, clock_ns))


def request(ident: int, **document: object) -> bytes:
    return encode(ident, wire.REQUEST, encode_document(document))


def configure(ident: int, clock_ns: int = 0, rest: bytes = b"") -> bytes:
    fixed = struct.pack(wire.CONFIGURE_FORMAT, clock_ns, bytes(64), b"0" * 32, 5)
    return encode(ident, wire.CONFIGURE, fixed + b"guest" + rest)


GREETING = wire.LANE_MAGIC + hello()


def outcome(host: Host) -> list[tuple[int, int]]:
    return [(ident, kind) for ident, kind, _ in host.answers()]


def test_a_greeting_is_answered_with_its_nonce_first(host: Host) -> None:
    host.say(GREETING)
    data = host.heard()
    assert data.startswith(NONCE)
    ((ident, kind, body),) = Decoder(wire.GUEST_LIMITS).feed(data[len(NONCE) :])
    assert (ident, kind) == (0, wire.READY)
    assert decode_trusted(body) == {
        "generation": wire.GENERATION,
        "agent": "digest",
        "features": ["test"],
        "configured": False,
    }


def test_everything_may_be_said_in_one_go(host: Host) -> None:
    host.say(GREETING + configure(1) + request(2, op=wire.PING))
    assert outcome(host) == [(0, wire.READY), (1, wire.RESULT), (2, wire.RESULT)]
    assert host.machine.asked == [(bytes(64), b"guest", b"0" * 32, {})]


def test_a_greeting_may_come_a_byte_at_a_time_over_a_connection() -> None:
    host = Host(is_connection=True)
    try:
        host.say(*(GREETING[at : at + 1] for at in range(len(GREETING))))
        assert outcome(host) == [(0, wire.READY)]
    finally:
        host.close()


def test_a_connection_without_the_magic_is_closed() -> None:
    host = Host(is_connection=True)
    try:
        host.say(b"GET / HTTP/1.1\r\n\r\n")
        assert host.socket.recv(10) == b""
    finally:
        host.close()


def test_a_port_lets_pass_what_comes_before_a_greeting(port: Host) -> None:
    port.say(b"the rest of somebody's request", hello())
    assert port.heard() == b""
    port.say(GREETING)
    assert outcome(port) == [(0, wire.READY)]


def test_a_port_begins_anew_in_the_middle_of_a_frame(port: Host) -> None:
    port.say(GREETING, request(1, op=wire.PING)[:-3])
    assert outcome(port) == [(0, wire.READY)]
    port.say(GREETING + request(2, op=wire.PING))
    assert outcome(port) == [(0, wire.READY), (2, wire.RESULT)]


@pytest.mark.parametrize(
    "speech",
    [
        wire.LANE_MAGIC + request(1, op=wire.PING),
        wire.LANE_MAGIC + encode(0, wire.HELLO, b"short"),
        GREETING + hello(),
        GREETING + encode(1, 99),
        GREETING + struct.pack("<IIB", 2**32 - 1, 1, wire.DATA),
    ],
    ids=["no greeting", "short greeting", "two greetings", "unknown kind", "absurd length"],
)
def test_what_is_no_conversation_is_not_answered_and_the_next_one_is(port: Host, speech: bytes) -> None:
    port.say(speech, request(5, op=wire.PING))
    assert all(ident != 5 for ident, _, _ in port.answers())
    port.say(GREETING + request(6, op=wire.PING))
    assert outcome(port) == [(0, wire.READY), (6, wire.RESULT)]


@pytest.mark.parametrize(
    ("speech", "code"),
    [
        (request(1, op="dance"), wire.UNSUPPORTED),
        (request(1), wire.UNSUPPORTED),
        (encode(1, wire.REQUEST, b"no json"), wire.BAD_REQUEST),
        (encode(1, wire.REQUEST, b"[]"), wire.BAD_REQUEST),
        (encode(1, wire.CONFIGURE, b"short"), wire.BAD_REQUEST),
        (configure(1, rest=b"no json"), wire.BAD_REQUEST),
        (configure(0) + configure(1), wire.CONFLICT),
        (configure(0) + request(1, op=wire.PREPARE, flavour="fresh"), wire.CONFLICT),
        (encode(1, wire.EXEC, b""), wire.NOT_CONFIGURED),
        (request(1, op=wire.SYNC), wire.SYSTEM),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_done_is_refused_with_a_code_and_the_session_goes_on(
    host: Host, speech: bytes, code: str
) -> None:
    host.say(GREETING + speech + request(9, op=wire.PING))
    *_, (ident, kind, body), last = host.answers()
    assert (ident, kind) == (1, wire.FAILURE)
    assert decode_trusted(body)["code"] == code
    assert last[:2] == (9, wire.RESULT)


def test_what_is_for_a_command_that_has_ended_is_late_and_not_wrong(host: Host) -> None:
    late = encode(7, wire.DATA, b"x") + encode(7, wire.EOF) + encode(7, wire.CANCEL) + encode(7, wire.CREDIT, bytes(5))
    host.say(GREETING + late + request(8, op=wire.PING))
    assert outcome(host)[-1] == (8, wire.RESULT)


def test_the_clock_is_set_by_configure_and_by_later_greetings_if_it_is_wrong(port: Host) -> None:
    a_year_on = 2**61
    port.say(wire.LANE_MAGIC + hello(a_year_on))
    assert port.machine.asked == []
    port.say(configure(1, a_year_on))
    port.say(wire.LANE_MAGIC + hello(a_year_on + 1))
    assert [asked for asked in port.machine.asked if isinstance(asked, int)] == [a_year_on, a_year_on + 1]


def test_what_nobody_reads_is_kept_and_comes_when_somebody_does(port: Host) -> None:
    port.say(GREETING)
    port.heard()
    pings = [request(number, op=wire.PING) for number in range(3000)]
    for at in range(0, len(pings), 100):
        port.say(b"".join(pings[at : at + 100]))
    answered: list[Frame] = []
    decoder = Decoder(wire.GUEST_LIMITS)
    while len(answered) < len(pings):
        answered += decoder.feed(port.heard())
    assert [ident for ident, _, _ in answered] == list(range(3000))
