"""The monitor protocol against a peer that does what it likes."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.vmm.qemu.qmp import QmpClient
from tests.support.thorough import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

GREETING: dict[str, object] = {"QMP": {"version": {}, "capabilities": []}}


def soon(timeout_s: float = 5.0) -> Deadline:
    return Deadline(timeout_s, "the monitor to answer")


class Peer:
    """The other end: sends what a test says, and remembers what it was sent."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def say(self, *messages: object) -> None:
        self.end.sendall(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))

    def heard(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.end.recv(65536).splitlines()]


@pytest.fixture
def both() -> Generator[tuple[QmpClient, Peer]]:
    ours, theirs = socket.socketpair()
    with theirs, QmpClient(ours) as client:
        yield client, Peer(theirs)


def refused(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    return caught.value


def test_the_greeting_is_taken_and_answered(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    peer.say(GREETING, {"return": {}})
    client.negotiate(soon())
    assert peer.heard() == [{"execute": "qmp_capabilities"}]


def test_arguments_travel_and_the_answer_is_returned(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    peer.say({"return": {"status": "completed"}})
    assert client.execute("query-migrate", soon(), some=1) == {"status": "completed"}
    assert peer.heard() == [{"execute": "query-migrate", "arguments": {"some": 1}}]


def test_a_descriptor_travels_with_its_command(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    reading, writing = os.pipe()
    peer.say({"return": {}})
    client.execute("getfd", soon(), fd=writing, fdname="state")
    os.close(writing)
    fds = array.array("i")
    _, ancillary, _, _ = peer.end.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
    fds.frombytes(ancillary[0][2])
    os.write(fds[0], b"same pipe")
    os.close(fds[0])
    assert os.read(reading, 100) == b"same pipe"
    os.close(reading)


def test_a_refusal_says_what_qemu_said(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    peer.say({"error": {"class": "GenericError", "desc": "Could not open '/etc/passwd'"}})
    error = refused(lambda: client.execute("blockdev-add", soon()))
    assert error.code is ErrorCode.PROGRAM_FAILED
    assert "/etc/passwd" in error.message


def test_events_are_kept_until_somebody_waits_for_them(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    peer.say(
        {"event": "MIGRATION", "data": {"status": "active"}},
        {"event": "RESUME"},
        {"return": {}},
        {"event": "MIGRATION", "data": {"status": "completed"}},
    )
    client.execute("migrate-incoming", soon())
    assert client.wait_for_event("MIGRATION", lambda data: data.get("status") == "completed", soon())
    client.wait_for_event("RESUME", lambda _: True, soon())


@pytest.mark.parametrize(
    "flood",
    [
        b'{"a": "' + b"x" * 1_000_000,
        b"no json\n",
        b"[1, 2]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"{" * 300 + b"\n",
    ],
)
def test_what_is_no_message_is_refused(both: tuple[QmpClient, Peer], flood: bytes) -> None:
    client, peer = both
    with writing(peer, flood):
        error = refused(lambda: client.execute("stop", soon()))
    assert error.code is ErrorCode.PROTOCOL
    assert len(error.message) < 500


def test_events_without_end_are_refused(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    with writing(peer, b'{"event": "NOISE"}\n' * 100_000):
        assert refused(lambda: client.execute("stop", soon())).code is ErrorCode.PROTOCOL


def test_silence_ends_at_the_deadline(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    error = refused(lambda: client.negotiate(soon(0.05)))
    assert error.code is ErrorCode.TIMEOUT
    peer.end.sendall(b'{"QMP"')
    assert refused(lambda: client.negotiate(soon(0.05))).code is ErrorCode.TIMEOUT


def test_a_peer_that_ends_is_lost_except_where_it_was_asked_to(both: tuple[QmpClient, Peer]) -> None:
    client, peer = both
    peer.end.close()
    assert refused(lambda: client.execute("stop", soon())).code is ErrorCode.GUEST_LOST
    client.quit(soon())


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_an_answer_or_a_typed_error(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, QmpClient(ours) as client:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(PyroError) as caught:
            client.negotiate(soon())
        assert caught.value.code in {ErrorCode.PROTOCOL, ErrorCode.GUEST_LOST, ErrorCode.PROGRAM_FAILED}


def writing(peer: Peer, data: bytes) -> AbstractContextManager[None]:
    """Send more than a socket takes, from a thread that ends with the connection."""
    from contextlib import contextmanager, suppress

    @contextmanager
    def context() -> Generator[None]:
        def send() -> None:
            with suppress(OSError):
                peer.end.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            peer.end.shutdown(socket.SHUT_RDWR)
            thread.join()

    return context()
