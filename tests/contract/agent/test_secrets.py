"""Secrets: kept in a machine's memory, refused by an agent that has no machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import ExecRequest
from pyro_mcp.errors import ErrorCode, PyroError

if TYPE_CHECKING:
    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import Guest

VALUE = "välue\0with\r\n all there is\n"


def run(session: AgentSession, command: str) -> bytes:
    seen = bytearray()
    session.exec(ExecRequest(("/bin/sh", "-c", command), timeout_s=20), on_output=lambda _, data: seen.extend(data))
    return bytes(seen)


def test_a_machine_shows_its_workload_a_secret_to_the_byte(guest: Guest, session: AgentSession) -> None:
    if not guest.is_machine:
        with pytest.raises(PyroError, match="secrets need a VM") as caught:
            session.keep_secret("TOKEN", VALUE)
        assert caught.value.code is ErrorCode.UNSUPPORTED
        return
    session.keep_secret("TOKEN", VALUE)
    assert run(session, "cat /run/pyro-secrets/TOKEN") == VALUE.encode()
    session.keep_secret("TOKEN", "another")
    session.keep_secret("LONG", "\1" * 65536)
    assert run(session, "cat /run/pyro-secrets/TOKEN; wc -c < /run/pyro-secrets/LONG") == b"another65536\n"


@pytest.mark.parametrize("name", ["", "../names/hosts", "a/b", "é", "A" * 300])
def test_what_is_no_name_of_a_file_is_refused_without_the_value(guest: Guest, session: AgentSession, name: str) -> None:
    with pytest.raises(PyroError) as caught:
        session.keep_secret(name, VALUE)
    assert VALUE not in str(caught.value.to_json())
    if guest.is_machine:
        assert run(session, "cat /etc/hosts").startswith(b"127.0.0.1 localhost")


def test_there_is_room_for_as_many_as_there_may_be(guest: Guest, session: AgentSession) -> None:
    if guest.is_machine:
        for number in range(64):
            session.keep_secret(f"N{number}", "x" * 65536)
        assert run(session, "cat /run/pyro-secrets/N* | wc -c").split() == [str(64 * 65536).encode()]
