"""What the agent promises about ends: at the timeout, at a cancelling, with its session, everything is killed."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken, ExecRequest, Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from tests.support.agents import run

if TYPE_CHECKING:
    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import Guest

#: A shell line that leaves a tree of processes behind in every way there is; all of them carry the mark in $0.
TREE = """
mark=$1
sh -c 'while :; do sleep 1000; done' "$mark" &
(setsid sh -c 'while :; do sleep 1000; done' "$mark" &)
(setsid sh -c '(while :; do sleep 1000; done) & wait' "$mark" < /dev/null > /dev/null 2>&1 &)
trap '' TERM HUP INT
echo ready
while :; do sleep 1000; done
"""


def tree(timeout_s: float) -> tuple[ExecRequest, str]:
    mark = f"mark-{uuid.uuid4().hex}"
    return ExecRequest(("sh", "-c", TREE, "sh", mark), timeout_s=timeout_s), mark


def alive(guest: Guest, mark: str) -> int:
    """Return how many processes with the mark there are, not counting the one that looks."""
    with guest.session() as session:
        script = 'n=0; for f in /proc/[0-9]*/cmdline; do grep -qas -- "$1" "$f" && n=$((n+1)); done; echo $n'
        found = run(session, "sh", "-c", script, "sh", mark).stdout
    return int(found) - LOOKER


# The shell that looks has the mark among its own arguments, and so has the grep that it runs on itself.
LOOKER = 2


def gone(guest: Guest, mark: str) -> None:
    wait_until(lambda: alive(guest, mark) <= 0, timeout_s=10, what="the tree to be gone")


def test_the_look_at_processes_finds_a_tree(guest: Guest, session: AgentSession) -> None:
    request, mark = tree(30)
    token = CancelToken()
    seen: list[bool] = []

    def take(_stream: Stream, _data: bytes) -> None:
        seen.append(wait_until(lambda: alive(guest, mark) >= 4, timeout_s=20, what="the tree to be there"))
        token.cancel()

    with pytest.raises(PyroError):
        session.exec(request, on_output=take, cancel=token)
    assert seen == [True]


def test_a_command_is_killed_with_its_whole_tree_at_its_timeout(guest: Guest, session: AgentSession) -> None:
    request, mark = tree(1.0)
    out = bytearray()
    result = session.exec(request, on_output=lambda _, data: out.extend(data))
    assert result.timed_out
    assert result.exit_code == 128 + 9
    assert out == b"ready\n"
    assert result.duration_ms >= 1000
    gone(guest, mark)
    assert run(session, "echo on").stdout == b"on\n"


def test_a_cancelled_command_is_killed_with_its_whole_tree(guest: Guest, session: AgentSession) -> None:
    request, mark = tree(30)
    token = CancelToken()
    with pytest.raises(PyroError) as caught:
        session.exec(request, on_output=lambda _stream, _data: token.cancel(), cancel=token)
    assert caught.value.code is ErrorCode.CANCELLED
    gone(guest, mark)
    assert run(session, "echo on").stdout == b"on\n"


def test_another_thread_can_cancel_a_silent_command(session: AgentSession) -> None:
    token = CancelToken()
    timer = threading.Timer(0.2, token.cancel)
    timer.start()
    try:
        with pytest.raises(PyroError) as caught:
            run(session, "exec sleep 1000", cancel=token)
    finally:
        timer.join()
    assert caught.value.code is ErrorCode.CANCELLED


def test_what_is_cancelled_before_it_began_does_not_begin(session: AgentSession) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(PyroError) as caught:
        run(session, "touch begun", cancel=token)
    assert caught.value.code is ErrorCode.CANCELLED
    assert run(session, "test -e begun").result.exit_code == 1


def test_a_command_that_had_ended_before_the_cancelling_has_its_result(session: AgentSession) -> None:
    token = CancelToken()
    ran = run(session, "echo done", cancel=token)
    token.cancel()
    assert ran.result.exit_code == 0


def test_a_command_ends_with_its_session(guest: Guest) -> None:
    request, mark = tree(1000)
    session = guest.session()

    class Enough(Exception):  # noqa: N818 - a way out, no error
        pass

    def take(_stream: Stream, _data: bytes) -> None:
        raise Enough

    with session, pytest.raises(Enough):
        session.exec(request, on_output=take)
    gone(guest, mark)


def test_a_keyboard_interrupt_kills_the_command_and_goes_on(guest: Guest) -> None:
    request, mark = tree(1000)

    def take(_stream: Stream, _data: bytes) -> None:
        raise KeyboardInterrupt

    with guest.session() as session, pytest.raises(KeyboardInterrupt):
        session.exec(request, on_output=take)
    gone(guest, mark)


def test_output_up_to_the_timeout_is_kept(session: AgentSession) -> None:
    ran = run(session, "echo before; exec sleep 1000", timeout_s=0.5)
    assert ran.result.timed_out
    assert ran.stdout == b"before\n"


def test_a_flooding_command_is_killed_at_its_timeout_too(session: AgentSession) -> None:
    count = [0]

    def take(_stream: Stream, data: bytes) -> None:
        count[0] += len(data)

    result = session.exec(ExecRequest(("yes",), timeout_s=0.7), on_output=take)
    assert result.timed_out
    assert count[0] == result.stdout_bytes > 0


def test_a_session_that_hangs_up_takes_nothing_from_another(guest: Guest) -> None:
    with guest.session() as staying:
        run(staying, "echo 1")
        with guest.session() as leaving:
            run(leaving, "echo 2")
        assert run(staying, "echo 3").stdout == b"3\n"
