"""Connections from this host to a service's ports, carried over one lane: on a host and in a real guest."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.agent.services import GuestServices, GuestServiceState, ReadyPort, ServiceStart, publish_request
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.protocol import services as limits
from pyro_mcp.protocol import wire
from pyro_mcp.workspace.services.publishing.relay import Relay
from tests.support.agents import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.contract.agent.conftest import Guest

PORT = 18500
# Each connection's first line says what the server does with it.
SERVER = r"""
import os, socket, struct, sys, threading
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family, backlog=512)

def line_of(c):
    line = b""
    while not line.endswith(b"\n"):
        more = c.recv(1)
        if not more:
            return line
        line += more
    return line

def serve(c):
    words = line_of(c).split()
    if words[:1] == [b"echo"]:
        while data := c.recv(65536):
            c.sendall(data)
    elif words[:1] == [b"count"]:
        # Says how much came, once the other side is done.
        total = 0
        while data := c.recv(65536):
            total += len(data)
        c.sendall(b"%d\n" % total)
    elif words[:1] == [b"shut"]:
        # Is done first, and goes on reading.
        c.sendall(b"that is all\n")
        c.shutdown(socket.SHUT_WR)
        total = 0
        try:
            while data := c.recv(65536):
                total += len(data)
        except ConnectionResetError:
            print("got", total, flush=True)
        print("after shut", total, flush=True)
    elif words[:1] == [b"send"]:
        c.sendall(b"0123456789abcdef" * (int(words[1]) // 16))
    elif words[:1] == [b"refuse"]:
        # Answers an upload that it does not read.
        c.recv(1)
        c.sendall(b"E" * 1000)
    elif words[:1] == [b"exit"]:
        c.sendall(b"z" * int(words[1]))
        os._exit(0)
    elif words[:1] == [b"reset"]:
        c.sendall(b"x")
        c.recv(1)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()

while True:
    c, _ = listener.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


class Published:
    """A service whose port is carried to a port of this host."""

    def __init__(self, guest: Guest, name: str, port: int, relay: Relay, thread: threading.Thread) -> None:
        self.port = port
        self.relay = relay
        self.thread = thread
        self._guest = guest
        self._name = name

    def connect(self, first: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        if first:
            connection.sendall(first)
        return connection

    def stop(self) -> None:
        with self._guest.session() as session:
            GuestServices(session).stop(self._name, grace_s=0.2)

    def log(self) -> bytes:
        with self._guest.session() as session:
            return GuestServices(session).logs(self._name, 0, count=limits.KEPT_BYTES).data


@contextmanager
def published(
    guest: Guest, *, address: str = "127.0.0.1", port: int = PORT, leads_to: int | None = None
) -> Generator[Published]:
    name, run = f"server{port}", os.urandom(4).hex()
    start = ServiceStart(
        name=name,
        run=run,
        argv=("python3", "-c", SERVER, address, str(port)),
        cwd="/workspace",
        ready=ReadyPort(("127.0.0.1", "::1"), port),
        timeout_s=30,
    )
    with guest.session() as session:
        assert GuestServices(session).start(start).report.state is GuestServiceState.RUNNING
    ports = (leads_to or port,)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        connection = AgentSession.open(guest.transport, timeout_s=TIMEOUT_S).hand_over(timeout_s=TIMEOUT_S)
        listening = threading.Event()
        relay = Relay(connection.socket, [(listener, ports[0])], listening.set)
        thread = threading.Thread(target=relay.run, args=(publish_request(name, run, ports),))
        thread.start()
        found = Published(guest, name, listener.getsockname()[1], relay, thread)
        try:
            assert listening.wait(TIMEOUT_S)
            yield found
        finally:
            found.stop()
            thread.join(TIMEOUT_S)
            connection.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def shared_server(guest: Guest) -> Generator[Published]:
    with published(guest) as server:
        yield server


@pytest.fixture
def server(shared_server: Published) -> Generator[Published]:
    """Give a test the server, and see that nothing of its connections stays."""
    yield shared_server
    wait_until(lambda: not shared_server.relay.connection_count, timeout_s=20, what="all connections to be closed")


def all_of(connection: socket.socket) -> bytes:
    data = bytearray()
    while more := connection.recv(1 << 20):
        data += more
    return bytes(data)


def test_what_is_sent_comes_back(server: Published) -> None:
    with server.connect(b"echo\n") as connection:
        for size in (1, 10, 70_000):
            data = os.urandom(size)
            connection.sendall(data)
            came = bytearray()
            while len(came) < size:
                came += connection.recv(size)
            assert bytes(came) == data


def test_a_client_that_is_done_still_hears_the_answer(server: Published) -> None:
    with server.connect(b"count\n") as connection:
        connection.sendall(b"y" * 1_000_000)
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection) == b"1000000\n"


def test_a_service_that_is_done_still_hears_the_client(server: Published) -> None:
    with server.connect(b"shut\n") as connection:
        assert all_of(connection) == b"that is all\n"
        connection.sendall(b"z" * 300_000)
    with server.connect(b"echo\n") as connection:
        connection.sendall(b"?")
        assert connection.recv(1) == b"?"
    wait_until(lambda: b"after shut 300000" in server.log(), timeout_s=10, what="the service to hear it all")


def test_a_download_is_whole(server: Published) -> None:
    with server.connect(b"send 16000000\n") as connection:
        data = all_of(connection)
    assert hashlib.sha256(data).digest() == hashlib.sha256(b"0123456789abcdef" * 1_000_000).digest()


def test_what_looks_like_the_beginning_of_a_session_is_carried_as_well(server: Published) -> None:
    data = (b"12345" + wire.LANE_MAGIC) * 3000
    with server.connect(b"echo\n") as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        assert all_of(connection) == data
        sender.join(TIMEOUT_S)


def test_a_reset_is_passed_on(server: Published) -> None:
    with server.connect(b"reset\n") as connection:
        assert connection.recv(1) == b"x"
        connection.sendall(b"!")
        with pytest.raises(ConnectionResetError):
            all_of(connection)


def test_the_answer_to_a_refused_upload_arrives(server: Published) -> None:
    for _ in range(8):
        with server.connect(b"refuse\n") as connection:
            with suppress(OSError):
                for _ in range(32):
                    connection.sendall(bytes(1 << 18))
            answer = b""
            with suppress(ConnectionResetError):
                while more := connection.recv(65536):
                    answer += more
            assert answer == b"E" * 1000


def test_what_a_client_sends_before_it_resets_reaches_the_service(guest: Guest, server: Published) -> None:
    del guest
    connection = server.connect(b"shut\n")
    assert all_of(connection) == b"that is all\n"
    connection.sendall(bytes(12345))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    wait_until(lambda: b"got 12345" in server.log(), timeout_s=20, what="the service to get all of it")


def test_a_slow_client_gets_all_that_a_service_sent_before_it_exited(guest: Guest) -> None:
    size = 400_000
    with published(guest, port=PORT + 40) as server, server.connect(b"exit %d\n" % size) as connection:
        with suppress(ConnectionRefusedError):
            # No longer accepted once the service has ended, while the first connection still drains. One that waits to
            # be accepted when the listener closes is reset.
            while True:
                with suppress(ConnectionResetError):
                    server.connect().close()
        assert len(all_of(connection)) == size


def test_a_client_that_resets_does_no_harm(server: Published) -> None:
    for _ in range(20):
        connection = server.connect(b"send 1600000\n")
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()
    with server.connect(b"send 16\n") as connection:
        assert all_of(connection) == b"0123456789abcdef"


def test_a_slow_client_holds_nobody_up(server: Published) -> None:
    with server.connect(b"send 64000000\n") as slow:
        assert slow.recv(1) == b"0"
        for _ in range(20):
            with server.connect(b"send 32\n") as quick:
                assert len(all_of(quick)) == 32


def test_many_short_connections_and_a_few_long_ones(guest: Guest, server: Published) -> None:
    long_ones = [server.connect(b"echo\n") for _ in range(8)]
    count = 75 if guest.is_machine else 500

    def many() -> None:
        for number in range(count):
            with server.connect(b"echo\n") as connection:
                word = b"%d" % number
                connection.sendall(word)
                connection.shutdown(socket.SHUT_WR)
                assert all_of(connection) == word
                done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(done) == 4 * count
    for connection in long_ones:
        connection.sendall(b"still here")
        assert connection.recv(100) == b"still here"
        connection.close()


def test_more_connections_than_fit_wait_their_turn(server: Published) -> None:
    held = [server.connect() for _ in range(limits.MAX_CONNECTIONS)]
    with server.connect(b"send 16\n") as waiting:
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.settimeout(TIMEOUT_S)
        held.pop().close()
        assert all_of(waiting) == b"0123456789abcdef"
    for connection in held:
        connection.close()


@pytest.mark.parametrize("address", ["::1", "0.0.0.0"])
def test_a_service_may_listen_on_either_loopback_or_on_all_addresses(guest: Guest, address: str) -> None:
    port = PORT + 1 + len(address)
    with published(guest, address=address, port=port) as server, server.connect(b"send 16\n") as connection:
        assert all_of(connection) == b"0123456789abcdef"


def test_a_port_where_nobody_listens_resets(guest: Guest) -> None:
    def first_of(server: Published) -> bytes:
        # The reset may come before the connection was even used.
        with server.connect() as connection:
            return connection.recv(1)

    with published(guest, port=PORT + 20, leads_to=PORT + 21) as server:
        for _ in range(20):
            with pytest.raises(ConnectionResetError):
                first_of(server)


def test_connections_end_with_their_service(guest: Guest) -> None:
    with published(guest, port=PORT + 30) as server:
        connection = server.connect(b"echo\n")
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        server.stop()
        server.thread.join(TIMEOUT_S)
        assert not server.thread.is_alive()
        with connection, suppress(ConnectionResetError):
            assert connection.recv(1) == b""
