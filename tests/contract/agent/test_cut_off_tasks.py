"""Tasks that lose their host, their input or their room: what they change is all of it or nothing."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.file_values import Delete, Write
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.agent.messages import TaskRequest
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.frames import encode, encode_stream
from tests.support.agents import TIMEOUT_S, opened, run

if TYPE_CHECKING:
    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import WorkspaceGuest

COUNT = 20
HELLO_IDENT, IDENT = 0, 1


@pytest.fixture
def clean(workspace_session: AgentSession) -> AgentSession:
    """Give a session with a workspace that has nothing in it."""
    assert run(workspace_session, "find . -mindepth 1 -delete").result.exit_code == 0
    return workspace_session


def record(path: bytes, data: bytes) -> bytes:
    return tasks.CHANGE.pack(tasks.CHANGE_WRITE, 1, 0o644, len(data), len(path)) + path + data


def everything() -> bytes:
    return b"".join(record(b"dir%d/file" % number, b"x" * 1000) for number in range(COUNT))


def request() -> TaskRequest:
    fields = {"area": tasks.WORKSPACE, "count": COUNT}
    return TaskRequest(tasks.APPLY, "change files", TIMEOUT_S, fields, tasks.FINISHES)


def written(guest: WorkspaceGuest) -> int:
    return sum(path.endswith(b"/file") for path in paths(guest))


def paths(guest: WorkspaceGuest) -> list[bytes]:
    with guest.session() as session:
        return [entry.path for entry in GuestFiles(session).list(b"", recursive=True, limit=1000).entries]


def test_without_all_of_its_input_nothing_is_changed(workspace: WorkspaceGuest, clean: AgentSession) -> None:
    for size in (0, 10, 500, len(everything()) - 1):
        with pytest.raises(PyroError) as caught:
            clean.task(request(), stdin=everything()[:size])
        assert caught.value.code is ErrorCode.CANCELLED
        assert paths(workspace) == []


def speak(workspace: WorkspaceGuest, data: bytes) -> None:
    """Ask for the changes as a host does that is killed then, with so much of their content said."""
    connection = workspace.transport.connect(timeout_s=TIMEOUT_S)
    with connection:
        nonce = os.urandom(wire.NONCE_BYTES)
        greeting = encode(HELLO_IDENT, wire.HELLO, struct.pack(wire.HELLO_FORMAT, nonce, wire.GENERATION, 0))
        body = request().body(stdin=True)
        connection.socket.sendall(
            wire.LANE_MAGIC + greeting + encode(IDENT, wire.TASK, body) + encode_stream(IDENT, wire.DATA, data)
        )
        # The answer to the greeting says that it was all taken in: a lane is read in order.
        connection.socket.settimeout(TIMEOUT_S)
        assert nonce in connection.socket.recv(65536)


def test_a_host_that_is_gone_after_the_last_byte_has_changed_all(
    workspace: WorkspaceGuest, clean: AgentSession
) -> None:
    speak(workspace, everything())
    # Two for each change: while they are made, their staging directory is there too.
    assert wait_until(lambda: len(paths(workspace)) == 2 * COUNT, timeout_s=20, what="the changes to be made")
    assert written(workspace) == COUNT


def test_a_host_that_is_gone_before_has_changed_nothing(workspace: WorkspaceGuest, clean: AgentSession) -> None:
    speak(workspace, everything()[:-1])
    assert paths(workspace) == []


def test_a_task_is_cancelled(workspace: WorkspaceGuest, clean: AgentSession) -> None:
    assert run(clean, "mkdir many; cd many; seq 3000 | xargs touch").result.exit_code == 0
    token = CancelToken()
    with workspace.session() as session, pytest.raises(PyroError) as caught:
        GuestFiles(session, cancel=token).pack(b"", lambda _: token.cancel())
    assert caught.value.code is ErrorCode.CANCELLED
    with opened(workspace.transport) as session:
        assert GuestFiles(session).usage().total_bytes > 0


# Only a guest's disk can be filled without harm.
@pytest.mark.vm
@pytest.mark.parametrize("workspace", ["machine"], indirect=True)
def test_a_full_disk_changes_nothing_and_says_so(workspace: WorkspaceGuest, clean: AgentSession) -> None:
    files = GuestFiles(clean)
    files.write(b"old", b"old\n")
    fill = "n=0; while fallocate -l 1G big$n || fallocate -l 8M big$n; do n=$((n+1)); done; cat /dev/zero > rest"
    run(clean, fill, timeout_s=60)
    data = b"x" * 100_000
    for call in (
        lambda: files.write(b"old", data),
        lambda: files.write(b"new/file", data),
        lambda: files.apply([Delete(b"old"), Write(b"new", data, 0o644, created=True)]),
    ):
        with pytest.raises(PyroError) as caught:
            call()
        assert caught.value.code is ErrorCode.NO_SPACE
        assert "disk is full" in caught.value.message
    assert files.read(b"old", max_bytes=10).data == b"old\n"
    assert run(clean, "rm -f big* rest; ls -A").stdout.split() in ([b"old"], [b"new", b"old"])
    assert files.write(b"old", data).size_bytes == len(data)
