"""Whatever an agent does with a request, each verb ends with a typed error within its own bound."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession, ExecRequest, exchange, files, session
from pyro_mcp.agent.file_values import DiffBounds, Write
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.agent.services import GuestServices
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import encode_document
from pyro_mcp.protocol.frames import Decoder, encode
from tests.support.agents import PairTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterator

BOUND_S = 0.3
#: Long enough for the machine to be slow, short against the bounds that are not injected.
PATIENCE_S = 20.0
FIRST = 1


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each verb, and the grace after it, a fraction of a second."""
    for name in ("STALL_S", "UNPACK_STALL_S", "DIFF_STALL_S"):
        monkeypatch.setattr(files, name, BOUND_S)
    monkeypatch.setattr(exchange, "GRACE_S", BOUND_S)
    monkeypatch.setattr(session, "CONFIGURE_TIMEOUT_S", BOUND_S)


def forever(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


VERBS: dict[str, Callable[[AgentSession], object]] = {
    "exec": lambda opened: opened.exec(ExecRequest(("true",), timeout_s=BOUND_S)),
    "ping": lambda opened: opened.ping(timeout_s=BOUND_S),
    "sync": lambda opened: opened.sync(timeout_s=BOUND_S),
    "poweroff": lambda opened: opened.poweroff(timeout_s=BOUND_S),
    "services": lambda opened: GuestServices(opened).list(timeout_s=BOUND_S),
    "pack": lambda opened: GuestFiles(opened).pack(b"", lambda data: None),  # noqa: ARG005
    "unpack": lambda opened: GuestFiles(opened).unpack(b"", forever(bytes(1000))),
    "diff": lambda opened: GuestFiles(opened).diff(DiffBounds(9, 9, 9)),
}
SMALL: dict[str, Callable[[AgentSession], object]] = {
    "list": lambda opened: GuestFiles(opened).list(b"", recursive=True, limit=9),
    "read": lambda opened: GuestFiles(opened).read(b"a", max_bytes=9),
    "write": lambda opened: GuestFiles(opened).write(b"a", b"x"),
    "fetch": lambda opened: GuestFiles(opened).fetch([b"a"], max_file_bytes=9),
    "apply": lambda opened: GuestFiles(opened).apply([Write(b"a", b"x", 0o644, created=True)]),
    "usage": lambda opened: GuestFiles(opened).usage(),
}


def silent(say: Callable[[bytes], None], over: threading.Event) -> None:
    del say
    over.wait(PATIENCE_S)


def stalls_in_the_middle(say: Callable[[bytes], None], over: threading.Event) -> None:
    say(encode(FIRST, wire.STDERR, b"{")[:-1])
    over.wait(PATIENCE_S)


def a_byte_at_a_time(say: Callable[[bytes], None], over: threading.Event) -> None:
    while not over.wait(0.02):
        say(encode(FIRST, wire.STDERR, b"{"))


def endless(say: Callable[[bytes], None], over: threading.Event) -> None:
    while not over.is_set():
        say(encode(FIRST, wire.STDERR, b" ") * 1000)


@contextlib.contextmanager
def agent(peer: socket.socket, behave: Callable[[Callable[[bytes], None], threading.Event], None]) -> Generator[None]:
    """Greet the host, and behave from its first request on, until the host has hung up."""
    over = threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while peer.recv(65536):
                continue
        over.set()

    def speak() -> None:
        with contextlib.suppress(OSError):
            received = b""
            while len(received) < len(wire.LANE_MAGIC) + 32:
                received += peer.recv(65536)
            ((_, _, hello),) = Decoder(wire.HOST_LIMITS).feed(received[len(wire.LANE_MAGIC) :])[:1]
            info = {"generation": wire.GENERATION, "agent": "x", "features": ["exec", "tasks"], "configured": True}
            peer.sendall(hello[: wire.NONCE_BYTES] + encode(0, wire.READY, encode_document(info)))
            reader = threading.Thread(target=read)
            reader.start()
            behave(peer.sendall, over)
            reader.join()

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        over.set()
        peer.shutdown(2)
        thread.join()


@pytest.mark.parametrize("behave", [silent, stalls_in_the_middle, a_byte_at_a_time, endless])
@pytest.mark.parametrize("verb", [*VERBS, *SMALL])
def test_every_verb_ends_within_its_bound(
    verb: str,
    behave: Callable[[Callable[[bytes], None], threading.Event], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if verb in SMALL:
        monkeypatch.setattr(files, "SMALL_TIMEOUT_S", BOUND_S)
    pair = PairTransport()
    failed: list[PyroError] = []

    def ask() -> None:
        with AgentSession.open(pair, timeout_s=1) as opened:
            try:
                (VERBS | SMALL)[verb](opened)
            except PyroError as error:
                failed.append(error)

    with agent(pair.theirs, behave):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(PATIENCE_S)
        ended = not thread.is_alive()
    thread.join()
    pair.close()
    assert ended
    assert [error.code for error in failed] in ([ErrorCode.TIMEOUT], [ErrorCode.PROTOCOL])


def test_slow_but_steady_data_is_waited_for() -> None:
    piece = bytes(exchange.PROGRESS_BYTES)

    def steady(say: Callable[[bytes], None], over: threading.Event) -> None:
        for _ in range(8):
            over.wait(BOUND_S / 4)
            say(encode(FIRST, wire.STDOUT, piece))
        say(encode(FIRST, wire.STDERR, b'{"ok": {"entries": 3}}'))
        say(encode(FIRST, wire.RESULT, b'{"exit_code":0,"timed_out":false,"cancelled":false,"duration_ms":1}'))

    pair = PairTransport()
    got: list[int] = []
    with agent(pair.theirs, steady), AgentSession.open(pair, timeout_s=1) as opened:
        assert GuestFiles(opened).pack(b"", lambda data: got.append(len(data))).entry_count == 3
    pair.close()
    assert sum(got) == 8 * len(piece)
