"""An MCP client, the official SDK's, over stdio, with real guests."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp import Pyro
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.types import CallToolResult

pytestmark = pytest.mark.vm

TIMEOUT_S = 100
Mode = Literal["auto", "legacy"]


def talk(body: Callable[[Client], Awaitable[None]], *words: str, mode: Mode = "auto") -> None:
    """Start `pyro mcp serve` and let `body` talk to it."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve", *words], env=dict(os.environ)
    )

    async def main() -> None:
        with anyio.fail_after(TIMEOUT_S):
            async with Client(parameters, mode=mode) as client:
                await body(client)

    anyio.run(main)


async def run(client: Client, command: str | list[str], **more: Any) -> CallToolResult:
    return await client.call_tool("vm_run", {"environment": "debian:12", "command": command, **more})


def started(pyro: Pyro) -> bool:
    return any(vm.state == "started" for vm in pyro.list_vms().vms)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_lists_the_tools_and_runs_a_command(mode: Mode) -> None:
    async def body(client: Client) -> None:
        assert (await client.list_tools()).tools[0].name == "vm_run"
        result = await run(client, "git --version; echo err >&2; exit 3")
        assert not result.is_error
        assert result.structured_content["stdout"].startswith("git version 2.")
        assert result.structured_content["stderr"] == "err\n"
        assert result.structured_content["exit_code"] == 3
        assert result.structured_content["isolation"] in {"kvm", "tcg"}

    talk(body, mode=mode)


def test_a_lifecycle_goes_tool_by_tool() -> None:
    async def body(client: Client) -> None:
        async def call(tool: str, **arguments: Any) -> Any:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result
            return result.structured_content

        environments = (await call("vm_list_environments"))["environments"]
        assert {"debian:12", "debian:12-base", "debian:12-build"} <= {each["name"] for each in environments}
        vm_id = (await call("vm_create", environment="debian:12"))["vm_id"]
        assert (await call("vm_start", vm_id=vm_id))["state"] == "started"
        assert (await call("vm_status", vm_id=vm_id))["vcpu_count"] == 1
        assert (await call("vm_network_info", vm_id=vm_id))["network_policy"] == "off"
        assert (await call("vm_exec", vm_id=vm_id, command=["echo", "a b"]))["stdout"] == "a b\n"
        missing = await client.call_tool("vm_delete", {"vm_id": vm_id})
        assert missing.is_error
        assert missing.structured_content["error"]["code"] == "not_found"
        assert (await call("vm_reap_expired"))["count"] == 0

    talk(body, "--profile", "vm-full")


def test_a_flood_is_bounded_and_harmless() -> None:
    async def body(client: Client) -> None:
        result = await run(client, "printf '\\033]52;c;x\\007'; yes | head -c 5000000; printf 'end\\033[2J'")
        shown = result.structured_content["stdout"]
        assert len(shown) <= 20_000
        assert "\x1b" not in shown
        assert shown.startswith("^[]52;c;x")
        assert shown.endswith("end^[[2J")
        assert result.structured_content["stdout_size_bytes"] > 5_000_000

    talk(body)


def test_cancelling_a_call_kills_the_command_and_its_vm() -> None:
    pyro = Pyro()

    def nothing_runs() -> bool:
        return pyro.list_vms().count == 0

    async def body(client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, client, "sleep 1000")
            await anyio.to_thread.run_sync(
                lambda: wait_until(lambda: started(pyro), timeout_s=60, what="the VM to run")
            )
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(lambda: wait_until(nothing_runs, timeout_s=30, what="the VM to go"))
        assert (await run(client, "echo on")).structured_content["stdout"] == "on\n"

    talk(body)


def test_a_client_that_goes_away_takes_its_vms_along() -> None:
    pyro = Pyro()

    async def body(client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, client, "sleep 1000")
            await anyio.to_thread.run_sync(
                lambda: wait_until(lambda: started(pyro), timeout_s=60, what="the VM to run")
            )
            raise ConnectionAbortedError

    with pytest.raises(ExceptionGroup):
        talk(body)
    wait_until(lambda: pyro.list_vms().count == 0, timeout_s=30, what="the VM to go")


def test_unknown_arguments_and_tools_are_refused_by_name() -> None:
    async def body(client: Client) -> None:
        result = await run(client, "true", memory=1)
        assert result.is_error
        assert "unknown argument 'memory'" in result.structured_content["error"]["message"]

    talk(body)


def test_several_calls_run_at_once() -> None:
    async def body(client: Client) -> None:
        seen: set[str] = set()

        async def one(number: int) -> None:
            seen.add((await run(client, f"echo {number}")).structured_content["stdout"])

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(one, number)
        assert seen == {"0\n", "1\n", "2\n", "3\n"}

    talk(body)


def test_a_server_that_is_killed_leaves_nothing_that_the_next_does_not_clear_away() -> None:
    pyro = Pyro()
    command = [sys.executable, "-m", "pyro_mcp", "mcp", "serve"]
    call = {"name": "vm_run", "arguments": {"environment": "debian:12", "command": "sleep 1000"}}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ]
    with process.start(command, stdin=process.PIPE, stdout=process.PIPE) as server:
        assert server.stdin is not None
        for message in messages:
            os.write(server.stdin, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        wait_until(lambda: started(pyro), timeout_s=60, what="the VM to run")
        server.send_signal(signal.SIGKILL)
        server.wait(10)

    async def body(client: Client) -> None:
        assert (await run(client, "echo on")).structured_content["stdout"] == "on\n"

    talk(body)
    assert pyro.list_vms().count == 0
