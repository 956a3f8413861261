"""Every tool over stdio, with every argument: alone, and all together. Nothing may fail in a way nobody thought of.

The arguments come from the schemas, so a new one is called as soon as it exists. A refusal is fine where a host can't
do what is asked (no KVM, no root); an `internal` error never is.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp import Pyro, create_server
from pyro_mcp.operations.fields import parameters
from pyro_mcp.operations.profiles import MODES, PROFILES
from pyro_mcp.operations.table import find_tools
from tests.support.sample_repo import PATCH, make_repo
from tests.support.thorough import sampled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.types import CallToolResult, Tool

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

ENVIRONMENT = "debian:12-base"
TIMEOUT_S = 280
# Each call of these makes a machine of its own, so they may run side by side.
MAKERS = ("vm_run", "workspace_create", "vm_create")
# In the order in which one needs what another made, or ends it.
ORDER = (
    "vm_list_environments", "network_presets", "vm_reap_expired", "workspace_list", "workspace_status",
    "workspace_update", "workspace_network_show", "workspace_network_set", "workspace_network_allow",
    "workspace_network_deny", "workspace_network_log", "workspace_sync_push", "workspace_file_write",
    "workspace_file_read", "workspace_file_list", "workspace_patch_apply", "workspace_exec", "workspace_logs",
    "workspace_diff", "workspace_summary", "workspace_export", "shell_open", "shell_list", "shell_write",
    "shell_read", "shell_signal", "shell_close", "service_start", "service_list", "service_status", "service_logs",
    "service_stop", "snapshot_create", "snapshot_list", "workspace_reset", "snapshot_delete", "workspace_stop",
    "workspace_disk_list", "workspace_disk_read", "workspace_disk_export", "workspace_start", "workspace_delete",
    "vm_start", "vm_status", "vm_network_info", "vm_exec", "vm_stop", "vm_delete",
)  # fmt: skip


class Caller:
    """One client, the values that it gives, and what it has made."""

    def __init__(self, client: Client, tools: list[Tool], place: Path) -> None:
        self._client = client
        self._tools = {tool.name: tool for tool in tools}
        self._rows = {str(row.mcp): row for row in find_tools([tool.name for tool in tools])}
        self._place = place
        self._repo = make_repo(place / "repo")
        self._numbers = itertools.count()
        self._vms: list[str] = []
        self._made: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    async def call(self, tool: str, arguments: dict[str, Any]) -> None:
        result: CallToolResult = await self._client.call_tool(tool, arguments)
        content = result.structured_content
        assert content is not None
        if result.is_error:
            error = content["error"]
            assert error["code"] != "internal", (tool, arguments, error)
            self.refused[f"{tool} {sorted(arguments)}"] = error["message"]
            return
        self._made |= {key: content[key] for key in ("workspace_id", "shell_id") if key in content}
        if tool == "vm_create":
            self._vms.append(content["vm_id"])

    async def make(self, tool: str) -> None:
        limiter = anyio.CapacityLimiter(3)

        async def one(arguments: dict[str, Any]) -> None:
            async with limiter:
                await self.call(tool, arguments)

        async with anyio.create_task_group() as tasks:
            for names in self._choices(tool):
                tasks.start_soon(one, self._arguments(tool, names))

    async def use(self, tool: str) -> None:
        for names in self._choices(tool):
            if "vm_id" in names and not self._vms:
                await self.call("vm_create", {})
            arguments = self._arguments(tool, names)
            if tool in {"vm_exec", "vm_stop"}:
                await self.call("vm_start", {"vm_id": arguments["vm_id"]})
            await self.call(tool, arguments)

    def _choices(self, tool: str) -> Iterator[list[str]]:
        """Yield the names of arguments to give: what is required, that and each other one, and all."""
        schema = self._tools[tool].input_schema
        required = list(schema.get("required", []))
        others = [name for name in schema["properties"] if name not in required]
        yield required
        # Those that need a machine each try a share alone; all are in the call with everything.
        for name in sampled(others) if tool in {*MAKERS, "vm_exec"} else others:
            yield [*required, name]
        if len(others) > 1:
            yield [*required, *others]

    def _arguments(self, tool: str, names: list[str]) -> dict[str, Any]:
        given = {name: self._value(tool, name) for name in names}
        if any(name.startswith("ready") for name in given):
            # Most are never ready.
            given["ready_timeout_seconds"] = 1
        if "clear_name" in given:
            # Not both at once.
            given.pop("name", None)
        return given

    def _value(self, tool: str, name: str) -> Any:
        if name in {"workspace_id", "shell_id"}:
            return self._made[name]
        if name == "vm_id":
            return self._vms[-1] if tool in {"vm_start", "vm_status", "vm_network_info"} else self._vms.pop()
        if name in {"seed_path", "source_path"}:
            return str(self._repo)
        if name in {"output_path", "name", "service_name", "snapshot_name"}:
            return self._name(tool, name)
        value = VALUES.get(f"{tool}.{name}", VALUES.get(name))
        return self._plain(tool, name) if value is None else value

    def _name(self, tool: str, name: str) -> str:
        """Return a new name for what is made, and the last one for what is used."""
        new = f"{name.replace('_', '-')}-{next(self._numbers)}"
        if name == "output_path":
            return str(self._place / "new" / new)
        kind = tool.partition("_")[0]
        if tool in {"service_start", "snapshot_create"} or kind == "workspace":
            self._made[kind] = new
        return self._made[kind]

    def _plain(self, tool: str, name: str) -> Any:
        schema = self._tools[tool].input_schema["properties"][name]
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if "boolean" in kinds:
            return not schema.get("default")
        if "integer" in kinds or "number" in kinds:
            least = next(each.minimum for each in parameters(self._rows[tool].request) if each.name == name)
            return max(schema.get("default") or 0, least or 0)
        pytest.fail(f"no value for the argument {name} of {tool}: add one to VALUES")


# By name, and where that is not enough by tool and name.
VALUES: dict[str, Any] = {
    "environment": ENVIRONMENT, "command": "true", "path": "stats/mean.py", "text": "x\n", "patch": PATCH,
    "dest": "/workspace/pushed", "cwd": "/workspace", "input": "true", "signal_name": "INT",
    "published_ports": [{"guest_port": 8080}],
    "snapshot": "baseline", "network_policy": "egress", "labels": {"a": "b"}, "clear_labels": ["a"],
    "secrets": [{"name": "A", "value": "not secret"}], "secret_env": {"A": "B"}, "env": {"A": "b"}, "user": "root",
    "stdin": "text\n", "keep": "ends", "readiness": {"type": "command", "command": "true"},
    "ready_file": "/workspace/stats/mean.py",
    "ready_tcp": "127.0.0.1:1", "ready_http": "http://127.0.0.1:1/", "ready_command": "true",
    "hosts": ["example.org"], "allow_hosts": ["example.org"], "deny_hosts": ["example.org"], "ready_timeout_seconds": 1,
    "timeout_seconds": 20, "wait_for_idle_ms": 100, "sequence": 1, "exclude": ["*.log"],
    "service_start.command": ["sleep", "100"], "workspace_disk_list.path": "/etc",
    "workspace_disk_read.path": "/etc/hostname", "workspace_file_list.path": "stats", "workspace_diff.path": "stats",
    "workspace_export.path": "stats",
}  # fmt: skip


def test_no_tool_fails_unforeseen_whatever_arguments_it_gets(tmp_path: Path) -> None:
    words = ["mcp", "serve", "--profile", "workspace-full", "--environment", ENVIRONMENT, "--allow-path", str(tmp_path)]
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "pyro_mcp", *words], env=dict(os.environ), cwd=str(tmp_path)
    )

    async def main() -> None:
        with anyio.fail_after(TIMEOUT_S):
            async with Client(parameters) as client:
                tools = (await client.list_tools()).tools
                assert {tool.name for tool in tools} == {*MAKERS, *ORDER}
                caller = Caller(client, tools, tmp_path)
                for tool in MAKERS:
                    await caller.make(tool)
                for tool in ORDER:
                    await caller.use(tool)
                print(caller.refused)

    try:
        anyio.run(main)
    finally:
        with Pyro() as pyro:
            for each in pyro.list_workspaces().workspaces:
                pyro.delete_workspace(each.workspace_id)
            for vm in pyro.list_vms().vms:
                pyro.delete_vm(vm.vm_id)


@pytest.mark.parametrize(
    "how", [*({"profile": name} for name in PROFILES), *({"mode": name} for name in MODES)], ids=str
)
def test_no_profile_has_a_tool_or_an_argument_that_the_full_one_lacks(how: dict[str, str]) -> None:
    async def arguments(how: dict[str, str]) -> dict[str, set[str]]:
        async with Client(create_server(profile=how.get("profile"), mode=how.get("mode"))) as client:
            return {tool.name: set(tool.input_schema["properties"]) for tool in (await client.list_tools()).tools}

    full = anyio.run(lambda: arguments({"profile": "workspace-full"}))
    for name, known in anyio.run(lambda: arguments(how)).items():
        assert known <= full[name]
