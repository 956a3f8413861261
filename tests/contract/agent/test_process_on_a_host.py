"""What only the agent on a host does: it ends when it is told, and takes its commands along however it ends."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession, ExecRequest, GuestConfig, Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process.identity import all_processes
from pyro_mcp.host.waiting import wait_until
from tests.support.agents import TIMEOUT_S, config, local_agent, opened, run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.support.agents import LocalAgent

DAEMONS = """
for way in "" setsid; do
    ($way sh -c 'while :; do sleep 1000; done' "$1" < /dev/null > /dev/null 2>&1 &)
done
echo ready
exec sh -c 'while :; do sleep 1000; done' "$1"
"""


@pytest.fixture
def agent(tmp_path: Path) -> Generator[LocalAgent]:
    """Give a test an agent of its own, configured."""
    with local_agent(tmp_path / "home") as agent:
        with AgentSession.open(agent.transport, timeout_s=TIMEOUT_S) as session:
            session.configure(config())
        yield agent


def marked(mark: str) -> list[int]:
    found: list[int] = []
    for each in all_processes():
        try:
            with open(f"/proc/{each.pid}/cmdline", "rb") as file:
                if mark.encode() in file.read():
                    found.append(each.pid)
        except OSError:
            continue
    return found


def test_no_command_runs_before_the_agent_is_configured(tmp_path: Path) -> None:
    with local_agent(tmp_path / "home") as agent, opened(agent.transport) as session:
        assert not session.ready(timeout_s=TIMEOUT_S).configured
        with pytest.raises(PyroError) as caught:
            run(session, "true")
        assert caught.value.code is ErrorCode.CONFLICT
        # Said in one go, it is configured first.
        request = ExecRequest(("sh", "-c", "exit 4"), timeout_s=TIMEOUT_S)
        assert session.exec(request, config=config()).exit_code == 4
        assert session.exec(request).exit_code == 4


def test_a_configuration_that_is_refused_ends_the_session(agent: LocalAgent) -> None:
    with opened(agent.transport) as session:
        again = GuestConfig(hostname="again", machine_id="0" * 32)
        with pytest.raises(PyroError) as caught:
            session.exec(ExecRequest(("true",), timeout_s=TIMEOUT_S), config=again)
        assert caught.value.code is ErrorCode.CONFLICT
        with pytest.raises(PyroError) as caught:
            session.ping()
        assert caught.value.code is ErrorCode.GUEST_LOST


def test_the_workspace_is_the_private_directory(agent: LocalAgent) -> None:
    with opened(agent.transport) as session:
        assert run(session, "pwd; echo $HOME").stdout.decode().split() == [str(agent.root)] * 2
        os.mkdir(agent.root / "below")
        assert run(session, "pwd", cwd="/workspace/below").stdout.decode().strip() == str(agent.root / "below")


def test_it_ends_when_it_is_told_to_power_off(agent: LocalAgent) -> None:
    with opened(agent.transport) as session:
        session.poweroff()
    assert agent.child.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("how", ["poweroff", "kill"])
def test_its_commands_end_with_it(agent: LocalAgent, how: str) -> None:
    mark = f"mark-{uuid.uuid4().hex}"

    def take(_stream: Stream, _data: bytes) -> None:
        assert len(marked(mark)) >= 3
        if how == "kill":
            agent.child.send_signal(signal.SIGKILL)
        else:
            with opened(agent.transport) as other:
                other.poweroff()

    with opened(agent.transport) as session:
        request = ExecRequest(("sh", "-c", DAEMONS, "sh", mark), timeout_s=TIMEOUT_S)
        with pytest.raises(PyroError) as caught:
            session.exec(request, on_output=take)
    assert caught.value.code is ErrorCode.GUEST_LOST
    wait_until(lambda: not marked(mark), timeout_s=10, what="the commands to end")


def test_a_client_that_is_killed_takes_its_command_along(agent: LocalAgent, tmp_path: Path) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    code = f"""
import sys
from pathlib import Path
from pyro_mcp.agent import ExecRequest
from tests.support.agents import SocketTransport, opened
with opened(SocketTransport(Path({str(tmp_path / "home" / "agent")!r}))) as session:
    session.exec(ExecRequest(("sh", "-c", {DAEMONS!r}, "sh", {mark!r}), timeout_s=1000),
                 on_output=lambda _, data: print(data, flush=True))
"""
    with process.start([sys.executable, "-c", code], stdout=process.PIPE, stderr=None) as client:
        assert client.stdout is not None
        assert b"ready" in os.read(client.stdout, 100)
        assert len(marked(mark)) >= 3
        client.send_signal(signal.SIGKILL)
        wait_until(lambda: len(marked(mark)) <= 0, timeout_s=10, what="the command to end")
