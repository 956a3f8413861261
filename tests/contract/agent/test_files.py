"""What the agent promises about files: the same on a host and in a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent.files import (
    GuestFiles,
)
from pyro_mcp.errors import PyroError
from tests.support.agents import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.agent import AgentSession


@pytest.fixture
def files(workspace_session: AgentSession) -> GuestFiles:
    return GuestFiles(workspace_session)


@pytest.fixture
def sh(workspace_session: AgentSession) -> Callable[[str], bytes]:
    def execute(line: str) -> bytes:
        ran = run(workspace_session, line)
        assert ran.result.exit_code == 0, ran.stderr
        return ran.stdout

    return execute


def refused(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    return caught.value


def test_a_file_that_was_written_is_read_back(files: GuestFiles) -> None:
    written = files.write(b"new/dir/file.txt", b"one\ntwo\n")
    assert (written.size_bytes, written.mode, written.created) == (8, 0o644, True)
    found = files.read(b"new/dir/file.txt", max_bytes=100)
    assert (found.data, found.size_bytes, found.mode) == (b"one\ntwo\n", 8, 0o644)
