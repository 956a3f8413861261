"""`pyro demo ollama` against a stub of Ollama: no guest is booted."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.cli.builtins.ollama import client, demo
from pyro_mcp.cli.builtins.ollama.client import base_url_of
from pyro_mcp.cli.main import main
from pyro_mcp.errors import ErrorCode, PyroError
from tests.real_hosts.scripted_model import DONE
from tests.support.fake_runner import VM_ID, FakeRunner, exec_result, vm_result
from tests.support.ollama import MODEL, WITHOUT_TOOLS, OllamaStub, ollama
from tests.support.recipes.recipe import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.operations.operation import Call, Operation

Capture = pytest.CaptureFixture[str]
RUN = Step("vm_run", {"command": "true"})


class Vms:
    """Operations on VMs that boot nothing, and which of them were asked for."""

    def __init__(self, exit_code: int = 0) -> None:
        self.done: list[str] = []
        self._exit_code = exit_code

    def __call__(self, operation: Operation[Any, Any], _request: object, _call: Call) -> object:
        self.done.append(operation.name)
        match operation.name:
            case "vm_run" | "vm_exec":
                return exec_result(exit_code=self._exit_code, stdout="Linux 6.1\n")
            case "vm_delete":
                return operation.result(vm_id=VM_ID, deleted=True)
            case _:
                return vm_result()


@pytest.fixture
def vms(monkeypatch: pytest.MonkeyPatch) -> Vms:
    made = Vms()
    monkeypatch.setattr(demo, "Runner", lambda: FakeRunner(made))
    for variable in ("OLLAMA_HOST", "OLLAMA_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return made


def run(steps: Sequence[Step], *words: str) -> tuple[int, OllamaStub]:
    with ollama(steps) as stub:
        return main(["demo", "ollama", "--base-url", stub.url, *words]), stub


@pytest.mark.parametrize(
    ("given", "host", "address"),
    [
        (None, "", "http://127.0.0.1:11434/v1"),
        (None, "0.0.0.0", "http://0.0.0.0:11434/v1"),
        (None, " 'box:8080' ", "http://box:8080/v1"),
        (None, ":8080", "http://127.0.0.1:8080/v1"),
        (None, "https://box", "https://box:443/v1"),
        (None, "http://box/ollama/", "http://box:80/ollama/v1"),
        (None, "::1", "http://[::1]:11434/v1"),
        (None, "[::1]:80", "http://[::1]:80/v1"),
        ("http://localhost:11434/v1", "box", "http://localhost:11434/v1"),
        ("http://localhost:11434/v1/", "", "http://localhost:11434/v1"),
        ("box", "other", "http://box:11434/v1"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(given: str | None, host: str, address: str) -> None:
    assert base_url_of(given, {"OLLAMA_HOST": host}) == address


@pytest.mark.parametrize("given", ["ftp://box", "box:port", "http://me@box", "a b", "box?x", "[::1"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(PyroError) as caught:
        base_url_of(given, {})
    assert caught.value.code is ErrorCode.INVALID


def test_the_models_calls_are_carried_out_logged_and_summed_up(vms: Vms, capfd: Capture) -> None:
    status, stub = run([RUN])
    out, err = capfd.readouterr()
    assert (status, out, vms.done) == (0, f"{DONE}\n", ["vm_run"])
    first, call, result, summary = err.splitlines()
    assert first.startswith(f"[demo] model={MODEL} base_url={stub.url}/v1 tools=10 prompt=")
    assert call == '[demo] round=1 tool=vm_run arguments={"command": "true"}'
    assert result.startswith("[demo] round=1 tool=vm_run ok=true exit_code=0 execution_mode=guest_virtio_serial")
    assert summary.startswith(f"[demo] model={MODEL} ")
    assert " environment=debian:12 rounds=2 calls=1 failed=0 exit_code=0 " in summary
    told = stub.requests[-1]["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "call_0")
    assert "Linux 6.1" in told["content"]


def test_json_is_one_document_and_nothing_is_logged(vms: Vms, capfd: Capture) -> None:
    status, stub = run([RUN], "--json", "--environment", "debian:13", "--prompt", "Do it.")
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["answer"] == DONE
    assert (document["environment"], document["prompt"]) == ("debian:13", "Do it.")
    assert [(each["tool"], each["ok"], each["exit_code"]) for each in document["tool_calls"]] == [("vm_run", True, 0)]
    assert stub.requests[0]["messages"][-1] == {"role": "user", "content": "Do it."}
    offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in stub.requests[0]["tools"]}
    assert offered["vm_run"]["properties"]["environment"]["default"] == "debian:13"
    # The model may not choose to do without a VM.
    assert not {name for each in offered.values() for name in each["properties"]} - demo.SHOWN


def test_whole_messages_are_logged_if_asked_for(vms: Vms, capfd: Capture) -> None:
    assert run([RUN], "-v")[0] == 0
    err = capfd.readouterr().err
    assert '"tool_calls": [' in err
    assert "\nLinux 6.1\n" in err


def test_ollama_host_and_a_key_are_taken_from_the_environment(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy is not asked for this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("OLLAMA_API_KEY", "key")
    with ollama([RUN]) as stub:
        monkeypatch.setenv("OLLAMA_HOST", stub.url.removeprefix("http://"))
        assert main(["demo", "ollama"]) == 0
    assert stub.keys == ["Bearer key", "Bearer key"]


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (Step("vm_run", {"comand": "true"}), "unknown argument 'comand'"),
        (Step("vm_exec", {"vm_id": "no such"}), "error (invalid)"),
        (Step("vm_run", {}), "the argument command is missing"),
    ],
)
def test_a_wrong_call_is_answered_and_the_model_may_go_on(step: Step, answer: str, vms: Vms, capfd: Capture) -> None:
    status, stub = run([step, RUN], "--json")
    assert status == 0
    assert answer in stub.results[0]
    document = json.loads(capfd.readouterr().out)
    assert (document["calls"], document["failed"], document["exit_code"]) == (2, 1, 0)


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        ({"name": "vm_fly", "arguments": "{}"}, "error: there is no tool 'vm_fly'; there are vm_create, "),
        ({"name": "vm_run", "arguments": '{"command": '}, "error: the arguments must be a JSON object"),
        ({"name": "vm_run", "arguments": "[]"}, "error: the arguments must be a JSON object"),
        ({"name": "vm_run", "arguments": {"command": "true"}}, "exit_code=0"),
    ],
)
def test_a_call_of_any_form_is_answered(function: dict[str, Any], answer: str, vms: Vms) -> None:
    conversation = demo.Conversation(demo.tools_of("debian:12"), demo.Log(quiet=True, verbose=False))
    conversation.offered()
    assert conversation.call(1, {"function": function}).startswith(answer)


def test_a_long_result_is_shortened_for_a_small_context(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "RESULT_CHARS", 60)
    _, stub = run([RUN])
    first, left_out, last = re.split(r"\n\((\d+) characters left out\)\n", stub.results[0])
    assert first.startswith("exit_code=0\n")
    assert (len(first), len(last)) == (30, 30)
    assert int(left_out) > 0


def test_vms_that_the_model_leaves_are_deleted(vms: Vms) -> None:
    assert run([Step("vm_create", {}), RUN])[0] == 0
    assert vms.done == ["vm_create", "vm_run", "vm_delete"]


def test_vms_that_the_model_used_up_are_not_deleted_again(vms: Vms) -> None:
    steps = [Step(f"vm_{verb}", arguments) for verb, arguments in [("create", {}), ("start", {"vm_id": VM_ID})]]
    assert run([*steps, Step("vm_exec", {"vm_id": VM_ID, "command": "true"})])[0] == 0
    assert vms.done == ["vm_create", "vm_start", "vm_exec"]


def test_a_model_that_calls_nothing_is_reminded_once_and_then_fails(vms: Vms, capfd: Capture) -> None:
    status, stub = run([])
    err = capfd.readouterr().err
    assert status == 1
    assert [len(each["messages"]) for each in stub.requests] == [2, 4]
    assert f"error: the model '{MODEL}' has run no command with success\n" in err
    assert "--model" in err


def test_a_command_that_fails_proves_nothing(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Runner", lambda: FakeRunner(Vms(exit_code=7)))
    assert run([RUN], "--json")[0] == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert (error["code"], error["details"]["exit_code"]) == ("unsupported", 7)


def test_a_model_that_never_ends_is_stopped(vms: Vms, capfd: Capture) -> None:
    status, stub = run([RUN] * 30, "--json")
    document = json.loads(capfd.readouterr().out)
    assert (status, document["rounds"], document["answer"]) == (0, demo.MAX_ROUNDS, "")
    assert len(stub.requests) == demo.MAX_ROUNDS


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["--model", "nope:7b"], "not_found", "Ollama has no model 'nope:7b'", "`ollama pull nope:7b`"),
        (["--model", WITHOUT_TOOLS], "unsupported", f"the model '{WITHOUT_TOOLS}' does not support tools", "--model"),
    ],
)
def test_a_model_that_will_not_do_is_an_error(
    words: list[str], code: str, message: str, hint: str, vms: Vms, capfd: Capture
) -> None:
    assert run([RUN], *words, "--json")[0] == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert (error["code"], error["message"]) == (code, message)
    assert hint in error["hint"]


def test_an_ollama_that_is_not_running_is_an_error(vms: Vms, capfd: Capture) -> None:
    with ollama([]) as stub:
        address = stub.url
    assert main(["demo", "ollama", "--base-url", address, "--json"]) == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == "unavailable"
    assert error["message"].startswith(f"Ollama does not answer at {address}/v1: ")
    assert "`ollama serve`" in error["hint"]


def test_a_model_that_takes_too_long_is_an_error(vms: Vms, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main(["demo", "ollama", "--base-url", f"127.0.0.1:{silent.getsockname()[1]}", "--json"]) == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == "timeout"
    assert error["message"] == f"the model '{MODEL}' has not answered within 0.1 seconds"


def test_another_server_is_not_taken_for_ollama(vms: Vms, capfd: Capture) -> None:
    with ollama([]) as stub:
        assert main(["demo", "ollama", "--base-url", f"{stub.url}/other", "--json"]) == 1
    error = json.loads(capfd.readouterr().out)["error"]
    assert (error["code"], error["message"].rpartition(": ")[2]) == ("protocol", "HTTP status 404")


def test_demo_is_still_a_command_of_its_own(capfd: Capture) -> None:
    assert main(["demo", "--help"]) == 0
    assert capfd.readouterr().out.startswith("usage: pyro demo [options]")
    assert main(["--help"]) == 0
    assert "  demo ollama " in capfd.readouterr().out
    assert main(["__complete", "bash", "pyro demo "]) == 0
    assert capfd.readouterr().out == "ollama\n"
