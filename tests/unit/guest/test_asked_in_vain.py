"""Whether a process that was killed had become its command: if not, the command runs in another one."""

from __future__ import annotations

import os
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pyro_mcp.guest.processes.process import Pipes, failure_of, launch, never_read_request
from pyro_mcp.guest.processes.spawner import Surroundings, become, read_command
from pyro_mcp.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.guest.processes.process import Process


@pytest.fixture
def process() -> Generator[Process]:
    pipes = Pipes()
    yield cast("Process", SimpleNamespace(pipes=pipes))
    pipes.close_all()


def command(*argv: bytes) -> bytes:
    """Return the body of an EXEC frame, to be run in /."""
    return struct.pack(wire.EXEC_FORMAT, 0, 0, len(argv), 0) + b"".join(text + b"\0" for text in (b"/", *argv))


def ends(process: Process, body: bytes) -> int:
    """Launch a child as the agent does, and return its exit status."""
    launch(process, body)
    pipes = process.pipes
    child = os.fork()
    if child == 0:
        request = read_command(pipes.request_theirs)
        assert request is not None
        surroundings = Surroundings({b"PATH": b"/bin:/usr/bin"}, b"/")
        become(request, surroundings, pipes.request_theirs, -1, pipes.error_theirs)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_one_that_has_read_its_request_and_done_nothing_more_never_read_request(process: Process) -> None:
    launch(process, command(b"true"))
    assert read_command(process.pipes.request_theirs) is not None
    assert never_read_request(process)


def test_one_that_became_its_command_was_not(process: Process) -> None:
    assert ends(process, command(b"false")) == 1
    assert not never_read_request(process)


def test_a_command_that_fails_has_no_failure_of_ours(process: Process) -> None:
    assert ends(process, command(b"false")) == 1
    assert failure_of(process) is None


def test_a_command_that_is_not_there_has_one(process: Process) -> None:
    assert ends(process, command(b"no-such-program")) == 127
    failure = failure_of(process)
    assert failure is not None
    assert failure.code == wire.COMMAND_NOT_FOUND
