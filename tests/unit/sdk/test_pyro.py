"""The class `Pyro`: requests go in checked, results come out frozen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import pyro_mcp
from pyro_mcp import AsyncPyro, Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.progress import Silent
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.workspaces.lifecycle import (
    WORKSPACE_CREATE,
    WorkspaceCreateRequest,
    WorkspaceDeleteResult,
)
from tests.support.fake_runner import VM_ID, FakeRunner, exec_result, vm_result
from tests.support.workspace_results import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.operations.operation import Call


def a_pyro(result: object, **how: Any) -> Pyro:
    def answer(*_: object) -> object:
        return result

    return Pyro(runner=FakeRunner(answer), **how)


def asked(pyro: Pyro) -> Any:
    assert isinstance(pyro.runner, FakeRunner)
    return pyro.runner.asked[-1]


def test_the_package_exports_both_names() -> None:
    assert pyro_mcp.Pyro is Pyro
    assert callable(pyro_mcp.create_server)
    assert {"Pyro", "create_server", "__version__"} <= set(dir(pyro_mcp))
    with pytest.raises(AttributeError, match="nonsense"):
        pyro_mcp.nonsense  # type: ignore[attr-defined] # noqa: B018


def test_a_command_may_be_a_text_or_any_sequence() -> None:
    with a_pyro(exec_result()) as pyro:
        pyro.run_in_vm("debian:12", "echo a b")
        assert asked(pyro)[1].command == "echo a b"
        pyro.run_in_vm("debian:12", ["echo", "a b"], network=True, mem_mib=512)
        assert asked(pyro)[1].command == ("echo", "a b")
        assert asked(pyro)[1].network is True
        pyro.exec_vm(VM_ID, command=("true",), timeout_seconds=5)
        assert asked(pyro)[0] == "vm_exec"


def test_a_request_out_of_bounds_is_refused_before_anything_is_done() -> None:
    pyro = a_pyro(vm_result())
    with pytest.raises(PyroError, match="vcpu_count is 0") as caught:
        pyro.create_vm("debian:12", 0)
    assert caught.value.code is ErrorCode.INVALID
    with pytest.raises(PyroError, match=r"vm_id is '\.\./x'"):
        pyro.delete_vm("../x")


def test_a_result_is_a_mapping_and_an_object() -> None:
    result = a_pyro(exec_result(exit_code=3)).run_in_vm("debian:12", "x")
    assert result.exit_code == result["exit_code"] == json.loads(json.dumps(result))["exit_code"] == 3


def test_what_was_refused_is_said_with_the_method_that_allows_it() -> None:
    hint = "network refused: a.example (policy packages); allow it with: `pyro workspace network allow ws_1 a.example`"
    pyro = a_pyro(exec_result(network_refused=["a.example"], network_hint=hint))
    done = pyro.run_in_vm("debian:12", "true")
    assert done.network_refused == ["a.example"]
    assert done.network_hint.endswith("allow it with: `allow_workspace_hosts('ws_1', ['a.example'])`")


def test_the_network_of_a_workspace_is_an_object() -> None:
    pyro = a_pyro(workspace())
    network = pyro.workspace(id="w").network
    for call in (
        network.show, network.log, lambda: network.set(network_policy="allow", allow_hosts=["a.example"]),
        lambda: network.allow(["a.example"]), lambda: network.deny(["a.example"]),
    ):  # fmt: skip
        call()
        assert asked(pyro)[1].workspace_id == workspace().workspace_id
    assert asked(pyro)[0] == "workspace_network_deny"
    assert asked(pyro)[1].hosts == ("a.example",)


def test_progress_reaches_who_asked_for_it() -> None:
    seen: list[str] = []

    class Told(Silent):
        def phase(self, name: str, message: str = "") -> None:
            seen.append(f"{name} {message}")

    def answer(_operation: object, _request: object, call: Call) -> object:
        call.progress.phase("create", "environment=debian:12")
        return exec_result()

    Pyro(runner=FakeRunner(answer), progress=Told()).run_in_vm("debian:12", "true")
    assert seen == ["create environment=debian:12"]


def test_directories_can_be_given(private_paths: Paths) -> None:
    assert Pyro(paths=private_paths).runner.call().paths == private_paths
    assert Pyro().runner.call().paths == private_paths


def test_directories_of_earlier_versions_can_be_given(
    tmp_path: Path, private_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = Pyro(base_dir="~/own", cache_dir=tmp_path / "images", backend_name="firecracker", max_active_vms=4)
    paths = chosen.runner.call().paths
    assert (paths.state, paths.cache) == (tmp_path / "own", tmp_path / "images")
    assert paths.runtime != private_paths.runtime
    same = AsyncPyro(base_dir=private_paths.state)
    assert same.sync.runner.call().paths == private_paths
    same.close()
    with pytest.raises(PyroError, match="there is no VmManager since version 5"):
        Pyro(object())  # type: ignore[arg-type]
    with pytest.raises(PyroError, match="there is no backend 'mock'"):
        Pyro(backend_name="mock")
    with pytest.raises(PyroError, match="can't be given together"):
        Pyro(base_dir=tmp_path, paths=private_paths)


def test_a_pyro_makes_a_server_that_uses_it() -> None:
    server = a_pyro(exec_result()).create_server(profile="vm-full")
    assert server.name == "pyro-mcp"
    with pytest.raises(PyroError, match="no profile"):
        a_pyro(None).create_server(profile="x")


def test_importing_the_sdk_loads_no_mcp() -> None:
    code = "import sys, pyro_mcp; pyro_mcp.Pyro(); print('mcp' in sys.modules or 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"


def test_the_modules_of_earlier_versions_are_there() -> None:
    from pyro_mcp import api, server, vm_manager

    assert api.Pyro is Pyro
    assert server.create_server is pyro_mcp.create_server
    assert (vm_manager.DEFAULT_VCPU_COUNT, vm_manager.DEFAULT_MEM_MIB) == (1, 1024)
    assert (vm_manager.DEFAULT_TIMEOUT_SECONDS, vm_manager.DEFAULT_TTL_SECONDS) == (30, 600)
    assert vm_manager.DEFAULT_ALLOW_HOST_COMPAT is False
    done = subprocess.run([sys.executable, "-m", "pyro_mcp.cli", "--version"], capture_output=True, check=True)
    assert done.stdout.decode() == f"pyro {pyro_mcp.__version__}\n"


def test_a_server_is_used_in_its_own_process() -> None:
    server = a_pyro(exec_result(exit_code=3, stdout="out")).create_server(profile="vm-run")
    (tool,) = asyncio.run(server.list_tools())
    assert (tool.name, tool.inputSchema["type"]) == ("vm_run", "object")
    assert tool.description
    arguments = {"environment": "debian:12", "command": "true"}
    content, structured = asyncio.run(server.call_tool("vm_run", arguments))
    assert (structured["exit_code"], structured["stdout"]) == (3, "out")
    assert content[0].type == "text"
    assert content[0].text.startswith("exit_code=3")
    _, refused = asyncio.run(server.call_tool("vm_run", {}))
    assert (refused["ok"], refused["error"]["code"]) == (False, "invalid")
    with pytest.raises(PyroError, match="the transport 'http' is not supported"):
        server.run(transport="http")


def test_the_callers_home_is_expanded_in_host_paths(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def handler(request: WorkspaceCreateRequest, _call: Call) -> WorkspaceDeleteResult:
        asked.append(request)
        return WorkspaceDeleteResult("ws_a", deleted=True, reason="")

    monkeypatch.setenv("HOME", "/of-mine")
    request = WorkspaceCreateRequest(
        environment="debian:12",
        seed_path="~/app",
        secrets=({"name": "A", "file_path": "~/a"}, {"name": "B", "value": "~/b"}),
    )
    Runner(private_paths).run(replace(WORKSPACE_CREATE, handler=handler), request)
    assert asked[0].seed_path == "/of-mine/app"
    assert asked[0].secrets == ({"name": "A", "file_path": "/of-mine/a"}, {"name": "B", "value": "~/b"})
