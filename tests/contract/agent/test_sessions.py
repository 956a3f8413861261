"""What the agent promises about sessions: several at once, each with an answer to its own greeting."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession, ExecRequest
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import wire
from tests.support.agents import TIMEOUT_S, config, run

if TYPE_CHECKING:
    from pyro_mcp.agent import Stream
    from tests.contract.agent.conftest import Guest


def test_the_agent_says_what_it_is(guest: Guest) -> None:
    with guest.session() as session:
        info = session.ready(timeout_s=TIMEOUT_S)
    assert info.generation == wire.GENERATION
    assert info.configured
    assert len(info.agent) == 16
    assert "exec" in info.features


def test_a_ping_is_answered_any_number_of_times(guest: Guest) -> None:
    with guest.session() as session:
        for _ in range(5):
            session.ping()


def test_a_guest_is_configured_once(guest: Guest) -> None:
    with guest.session() as session:
        with pytest.raises(PyroError) as caught:
            session.configure(config())
        assert caught.value.code is ErrorCode.CONFLICT
        session.ping()


def test_a_host_of_another_generation_is_told_so(guest: Guest) -> None:
    session = AgentSession.open(guest.transport, timeout_s=TIMEOUT_S, expected_generation=wire.GENERATION + 1)
    with session, pytest.raises(PyroError) as caught:
        session.ping()
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert str(wire.GENERATION) in caught.value.message


def test_the_disks_can_be_synced(guest: Guest) -> None:
    with guest.session() as session:
        session.sync()


def test_commands_of_several_sessions_run_side_by_side(guest: Guest) -> None:
    """Each command waits for a file that another one makes, so none could end if they ran one after the other."""
    names = ["first", "second", "third"]
    results: dict[str, int] = {}
    script = "touch there-$1; while ! [ -e there-first -a -e there-second -a -e there-third ]; do sleep 0.05; done"

    def converse(name: str) -> None:
        with guest.session() as session:
            results[name] = run(session, "sh", "-c", script, "sh", name).result.exit_code

    threads = [threading.Thread(target=converse, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(names, 0)


def test_a_session_is_over_after_its_end(guest: Guest) -> None:
    session = guest.session()
    session.close()
    session.close()
    with pytest.raises(PyroError) as caught:
        session.ping()
    assert caught.value.code is ErrorCode.GUEST_LOST


def test_hanging_up_in_the_middle_of_anything_leaves_the_lane_usable(guest: Guest) -> None:
    class Enough(Exception):  # noqa: N818 - a way out, no error
        pass

    def take(_stream: Stream, _data: bytes) -> None:
        raise Enough

    for _ in range(5):
        with guest.session() as session, pytest.raises(Enough):
            session.exec(ExecRequest(("yes",), timeout_s=TIMEOUT_S), on_output=take)
    with guest.session() as session:
        assert run(session, "echo clean").stdout == b"clean\n"
