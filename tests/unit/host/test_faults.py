"""Fault points do nothing unless armed, and then exactly what they were armed for."""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import faults, process
from pyro_mcp.host.process.identity import read_stat
from pyro_mcp.host.waiting import wait_until
from tests.support.python import python_that_says_ready, run_python

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PASS_TWO_POINTS = "from pyro_mcp.host.faults import fault_point as p; p('first'); print('between'); p('second')"


@pytest.fixture(autouse=True)
def fresh_counts() -> Generator[None]:
    faults.forget_hits()
    yield
    faults.forget_hits()


def test_a_point_that_is_not_armed_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    faults.fault_point("anywhere")
    monkeypatch.setenv("PYRO_FAULT_POINT", "elsewhere")
    faults.fault_point("anywhere")
    assert faults.ARMED_VARIABLE == "PYRO_FAULT_POINT"


def test_an_armed_point_kills_the_process_there_and_not_before() -> None:
    done = run_python(PASS_TWO_POINTS, env={"PYRO_FAULT_POINT": "second", "PYTHONUNBUFFERED": "1"})
    assert done.returncode == -signal.SIGKILL
    assert done.text == "between"


def test_a_point_can_stop_the_process() -> None:
    code = "import os; os.environ['PYRO_FAULT_POINT'] = 'x:stop'; print('ready', flush=True); " + PASS_TWO_POINTS
    with python_that_says_ready(code.replace("p('first')", "p('x')")) as child:

        def is_stopped() -> bool:
            found = read_stat(child.pid)
            return found is not None and found.state == "T"

        wait_until(is_stopped, timeout_s=30, what="the process to stop")
        assert child.poll() is None
        process.send_signal(child.pid, child.start_time, signal.SIGCONT)
        assert child.wait(30) == 0


def test_a_point_can_raise_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", "a:kill,b:raise")
    with pytest.raises(PyroError, match="fault point b was armed to raise") as caught:
        faults.fault_point("b")
    assert caught.value.code is ErrorCode.INTERNAL


def test_a_point_can_act_as_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", "b:no_space")
    with pytest.raises(OSError, match="No space left") as caught:
        faults.fault_point("b")
    assert caught.value.errno == errno.ENOSPC


def test_a_point_can_wait_for_its_second_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", "loop:raise:2")
    faults.fault_point("loop")
    with pytest.raises(PyroError):
        faults.fault_point("loop")
    faults.fault_point("loop")


def test_an_unknown_action_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", "a:explode")
    with pytest.raises(PyroError, match="unknown action for a: 'explode'"):
        faults.fault_point("a")


def test_a_trace_lists_the_points_passed_in_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    run_python(PASS_TWO_POINTS, env={"PYRO_FAULT_TRACE": str(trace)})
    assert trace.read_text().splitlines() == ["first", "second"]
