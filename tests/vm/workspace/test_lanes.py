"""Running commands lock nobody out of a workspace, and a stop writes what they wrote."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.vmm.driver import COMMAND_LANES
from pyro_mcp.workspace.files.access import read_file
from pyro_mcp.workspace.lifecycle.stop import stop_workspace

if TYPE_CHECKING:
    from pyro_mcp.agent import Stream
    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


def test_sixteen_running_commands_keep_neither_a_short_call_nor_a_stop_from_its_work(guests: HostFixture) -> None:
    workspace = guests.workspace()
    begun = threading.Semaphore(0)
    ended: list[str] = []

    def note(stream: Stream, data: bytes) -> None:
        del stream, data
        begun.release()

    def run(number: int) -> None:
        try:
            guests.do(
                workspace,
                f"echo data > f{number}; echo begun; sleep 600",
                timeout_s=300,
                on_output=note,
            )
        except (PyroError, AssertionError) as error:
            ended.append(str(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(COMMAND_LANES)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=120)
    assert read_file(guests.engine, workspace.id, "f3", max_bytes=100).text == "data\n"
    assert stop_workspace(guests.engine, workspace.id).last_error == ""
    for thread in threads:
        thread.join(60)
    assert len(ended) == COMMAND_LANES
    assert guests.do(workspace, "cat f* | wc -l") == f"{COMMAND_LANES}\n"
