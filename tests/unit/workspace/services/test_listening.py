"""Ports of this host are taken on its loopback alone, or not at all."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.service import PublishedPort
from pyro_mcp.protocol import wire
from pyro_mcp.workspace.services.publishing.publisher import listen
from pyro_mcp.workspace.services.publishing.relay import pieces

if TYPE_CHECKING:
    from collections.abc import Generator

ORDINARY_USER = 64321


@contextmanager
def without_capabilities() -> Generator[None]:
    """Be an ordinary user for a while: root's effective capabilities go with its user id, and come back with it."""
    before = os.geteuid()
    os.seteuid(before or ORDINARY_USER)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_port_of_zero_becomes_one_that_was_free() -> None:
    with ExitStack() as stack:
        found = listen([PublishedPort(0, 80), PublishedPort(0, 81)], stack)
        assert [port.guest for _, port in found] == [80, 81]
        assert len({port.host for _, port in found} - {0}) == 2
        for listener, port in found:
            assert listener.getsockname() == ("127.0.0.1", port.host)
            socket.create_connection(("127.0.0.1", port.host)).close()


def test_a_port_that_somebody_has_is_refused_and_the_others_are_given_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine, ExitStack() as stack:
        wanted = [PublishedPort(0, 80), PublishedPort(mine.getsockname()[1], 81)]
        with pytest.raises(PyroError, match="is in use") as refusal:
            listen(wanted, stack)
    assert refusal.value.code is ErrorCode.CONFLICT
    assert "--publish 81" in refusal.value.hint


def test_a_port_that_is_not_for_users_is_refused() -> None:
    with without_capabilities(), ExitStack() as stack, pytest.raises(PyroError) as refusal:
        listen([PublishedPort(80, 80)], stack)
    assert refusal.value.code is ErrorCode.PERMISSION


def test_no_piece_of_what_is_sent_spells_the_beginning_of_a_session() -> None:
    magic = wire.LANE_MAGIC
    for data in (b"", b"abc", magic, magic * 3, b"x" + magic[:5] + magic + magic[3:]):
        cut = pieces(data)
        assert b"".join(cut) == data
        assert all(magic not in piece for piece in cut)
