"""Unix sockets work at any path, and tell a dead one from a living one."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.sockets import connect_unix, listen_unix, unix_address

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["short", "long"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "long":
        tmp_path = tmp_path / ("ä lang " * 12) / ("b" * 60)
        tmp_path.mkdir(parents=True)
        assert len(os.fsencode(tmp_path)) > 108
    return tmp_path / "qmp"


def test_what_one_side_sends_the_other_receives(path: Path) -> None:
    with listen_unix(path) as listener, connect_unix(path, 5) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"hello")
            assert server.recv(10) == b"hello"


def test_the_socket_is_the_users_alone_and_not_inherited(path: Path) -> None:
    before = os.umask(0)
    try:
        with listen_unix(path) as listener:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert not listener.get_inheritable()
    finally:
        os.umask(before)


def test_a_connection_blocks_without_a_timeout_left_on_it(path: Path) -> None:
    with listen_unix(path), connect_unix(path, 5) as client:
        assert client.gettimeout() is None
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16) == bytes(16)


def test_a_socket_that_is_in_use_is_a_conflict(path: Path) -> None:
    with listen_unix(path), pytest.raises(PyroError, match="already exists") as caught:
        listen_unix(path)
    assert caught.value.code is ErrorCode.CONFLICT


def test_a_socket_that_nobody_listens_to_is_a_conflict_unless_it_may_be_replaced(path: Path) -> None:
    listen_unix(path).close()
    with pytest.raises(PyroError) as caught:
        listen_unix(path)
    assert caught.value.code is ErrorCode.CONFLICT
    with listen_unix(path, replaces_stale=True), connect_unix(path, 5) as client:
        assert client.fileno() >= 0


def test_a_living_socket_is_never_replaced(path: Path) -> None:
    with listen_unix(path, backlog=8) as listener:
        inode = path.stat().st_ino
        with pytest.raises(PyroError) as caught:
            listen_unix(path, replaces_stale=True)
        assert caught.value.code is ErrorCode.CONFLICT
        assert path.stat().st_ino == inode
        assert listener.fileno() >= 0


def test_a_file_in_place_of_the_socket_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(PyroError):
        listen_unix(path, replaces_stale=True)
    assert path.read_text() == "precious"


def test_nobody_listening_is_unavailable(path: Path) -> None:
    with pytest.raises(PyroError, match="no process listens at") as caught:
        connect_unix(path, 5)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    listen_unix(path).close()
    with pytest.raises(PyroError) as caught:
        connect_unix(path, 5)
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_listener_that_takes_no_more_ends_in_a_timeout(path: Path) -> None:
    with listen_unix(path, backlog=0), connect_unix(path, 5):
        with pytest.raises(PyroError, match=r"waited 0\.05 s for the listener") as caught:
            connect_unix(path, 0.05)
        assert caught.value.code is ErrorCode.TIMEOUT


def test_a_missing_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(PyroError, match="could not listen at"):
        listen_unix(tmp_path / "none" / "socket")
    with pytest.raises(PyroError, match="could not listen at"):
        listen_unix(tmp_path / ("n" * 120) / "socket")


def test_a_name_that_no_directory_makes_short_enough_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PyroError, match="is too long") as caught, unix_address(tmp_path / ("n" * 120)):
        pass
    assert caught.value.code is ErrorCode.INVALID
