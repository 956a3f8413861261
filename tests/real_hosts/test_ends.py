"""Sessions of the real hosts that end in the middle of a call: the VM of a run ends with them, a workspace does not.

`PYRO_TEST_ENDS` is the number of sessions for each host and tool (default: one for each way of ending).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from tests.real_hosts.scripted_model import scripted_model
from tests.real_hosts.test_real_hosts import COMMANDS, OWN, PROGRAMS, prepare
from tests.support.pyro_cli import pyro, pyro_json
from tests.support.recipes.recipe import Step
from tests.support.recipes.use_cases import ID

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]
CREATE = Step("workspace_create", {"environment": "debian:12"}, {"id": ID})
CALLS = {
    "vm_run": Step("vm_run", {"environment": "debian:12", "command": "sleep 600", "timeout_seconds": 600}),
    "workspace_exec": Step("workspace_exec", {"workspace_id": "{id}", "command": "sleep 600", "timeout_seconds": 600}),
}
# Ctrl-C and a closed terminal reach every process in the foreground, SIGTERM the host alone. SIGKILL goes to all, too:
# Codex is started by a script, which would be the only one to die.
ENDS = (
    (signal.SIGINT, True),
    (signal.SIGTERM, False),
    (signal.SIGHUP, True),
    (signal.SIGKILL, True),
)
END_S = 10
COUNT = int(os.environ.get("PYRO_TEST_ENDS", len(ENDS)))


def machines() -> int:
    """Count the VMs that run, those of workspaces included."""
    return len(pyro_json("stats")["vms"])


@pytest.fixture(autouse=True)
def no_workspaces() -> Generator[None]:
    yield
    for each in pyro_json("workspace", "list")["workspaces"]:
        pyro("workspace", "delete", each["workspace_id"])


@pytest.mark.parametrize("tool", CALLS)
@pytest.mark.parametrize("host", COMMANDS)
def test_a_session_that_ends_in_the_middle_of_a_call_leaves_no_vm(host: str, tool: str, tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    with scripted_model((CREATE, CALLS[tool])) as model:
        variables = prepare(tmp_path / "home", model)
        process.run([OWN / "pyro", "host", "connect", host], timeout_s=60, env=variables, cwd=place)
        program, *words = COMMANDS[host]
        for number, to_all in islice(cycle(ENDS), COUNT):
            with process.start([PROGRAMS / program, *words], env=variables, cwd=place) as session:
                wait_until(lambda: _is_busy(tool), timeout_s=120, what=f"{tool} to run")
                _end(session, number, to_all=to_all)
                wait_until(lambda: machines() == 1, timeout_s=20, what=f"the VM of {tool} to end after {number.name}")
            (left,) = pyro_json("workspace", "list")["workspaces"]
            assert left["state"] == "started", number.name
            assert pyro_json("workspace", "exec", left["workspace_id"], "--", "true")["exit_code"] == 0
            pyro_json("workspace", "delete", left["workspace_id"])
        assert machines() == 0


def _is_busy(tool: str) -> bool:
    if tool == "vm_run":
        return machines() == 2
    left = pyro_json("workspace", "list")["workspaces"]
    return bool(left) and b"sleep" in pyro("workspace", "top", left[0]["workspace_id"]).stdout


def _end(session: process.Child, number: signal.Signals, *, to_all: bool) -> None:
    # A host may take the first as a question: the second ends it.
    for _ in range(2):
        if to_all:
            os.killpg(session.pid, number)
        else:
            session.send_signal(number)
        with suppress(PyroError):
            session.wait(END_S)
            return
    session.wait(END_S)
