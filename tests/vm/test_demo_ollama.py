"""A model, played by a stub of Ollama, drives real VMs."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.ollama import ollama
from tests.support.pyro_cli import pyro_json, starting_pyro
from tests.support.recipes.recipe import Step

pytestmark = pytest.mark.vm


def test_a_model_runs_commands_in_one_call_and_step_by_step() -> None:
    steps = [
        Step("vm_run", {"environment": "debian:12-base", "command": "uname -sr; exit 3"}),
        Step("vm_create", {"environment": "debian:12-base"}, keep={"vm": r"vm_id: (vm_\w+)"}),
        Step("vm_start", {"vm_id": "{vm}"}),
        Step("vm_exec", {"vm_id": "{vm}", "command": "uname -sr"}),
    ]
    with ollama(steps) as stub:
        shown = pyro_json("demo", "ollama", "--base-url", stub.url)
    assert [each["ok"] for each in shown["tool_calls"]] == [True] * 4
    assert [each.get("exit_code") for each in shown["tool_calls"]] == [3, None, None, 0]
    assert (shown["exit_code"], shown["failed"], shown["rounds"]) == (0, 0, 5)
    assert shown["execution_mode"].startswith("guest_")
    assert "Linux 6." in stub.results[3]
    assert pyro_json("vm", "list") == {"count": 0, "vms": []}


def test_ctrl_c_in_a_call_ends_its_vm() -> None:
    step = Step("vm_run", {"environment": "debian:12-base", "command": "sleep 600", "timeout_seconds": 700})
    with ollama([step]) as stub, starting_pyro("demo", "ollama", "--base-url", stub.url) as demo:
        log = b""
        while b"tool=vm_run arguments=" not in log:
            assert demo.stderr is not None
            piece = os.read(demo.stderr, 65536)
            assert piece, log
            log += piece
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130
    assert pyro_json("vm", "list")["count"] == 0
