"""A test run that is killed leaves no process behind, whichever of its processes it was."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from tests.support.guardian import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator

TIMEOUT_S = 30.0
# What a test may have running: a child, a detached process that names its directories only in its arguments, as a
# keeper does, and a child of that one, which names nothing.
BUSY = """
import os, time
from pathlib import Path
from pyro_mcp.host import process

def test_that_is_killed(tmp_path):
    keeper = f"echo $$ > {tmp_path}/keeper; env -i sleep 1000 & echo $! > {tmp_path}/vmm; wait"
    with process.start(["sh", "-c", keeper], env={"PATH": os.environ["PATH"]}, detached=True), \\
            process.start(["sleep", "1000"]) as child:
        Path(tmp_path, "child").write_text(f"{child.pid}\\n")
        Path(tmp_path, "pytest").write_text(f"{os.getpid()}\\n")
        time.sleep(1000)
"""


@pytest.fixture
def pids(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> Generator[dict[str, int]]:
    """Run a test that never ends, with as many workers as the parameter says; yield its processes by name."""
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini(f"[pytest]\npythonpath = {ROOT}")
    pytester.makepyfile(BUSY)
    base = pytester.path / "base"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--max-worker-restart=0"]
    with process.start([*command, f"--basetemp={base}", "-n", request.param], cwd=pytester.path) as run:
        found: dict[str, int] = {"run": run.pid}

        def is_busy() -> bool:
            for name in ("keeper", "vmm", "child", "pytest"):
                for path in base.glob(f"**/test_that_is_killed0/{name}"):
                    text = path.read_text()
                    if text.endswith("\n"):
                        found[name] = int(text)
            return len(found) == 5

        wait_until(is_busy, timeout_s=TIMEOUT_S, what="the test to be busy")
        yield found


@pytest.mark.parametrize(
    ("pids", "victim"),
    [("0", "run"), ("1", "run"), ("1", "pytest")],
    ids=["one-process", "controller", "worker"],
    indirect=["pids"],
)
def test_a_killed_run_leaves_no_process_and_no_directory(pids: dict[str, int], victim: str) -> None:
    starts = {name: process.start_time(pid) for name, pid in pids.items()}
    os.kill(pids[victim], signal.SIGKILL)

    def left() -> list[str]:
        # The run itself is this test's child: a zombie until it is waited for.
        running = [name for name in starts if name != "run" and process.start_time(pids[name]) == starts[name]]
        return running + [str(path) for path in Path(tempfile.gettempdir()).glob("pyro-test-*")]

    wait_until(
        lambda: not left(), timeout_s=TIMEOUT_S, what="nothing of the killed run to be left", tail=lambda: str(left())
    )
