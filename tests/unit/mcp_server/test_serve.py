"""The server as a process: what it reads and writes, and how it ends. No guest is booted."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp.host import process
from pyro_mcp.host.waiting import Deadline
from tests.support.mcp_wire import INITIALIZE, PATIENT, ROOT, RUN, SERVER, Wire, serving

if TYPE_CHECKING:
    from pathlib import Path


def test_a_handshake_client_lists_and_calls() -> None:
    with serving() as wire:
        wire.begin()
        wire.send("tools/list", ident=2)
        assert next(tool["name"] for tool in wire.answer(2)["result"]["tools"]) == "vm_run"
        wire.send("tools/call", RUN, ident=3)
        assert wire.answer(3)["result"]["structuredContent"]["exit_code"] == 0


def test_a_client_of_the_stateless_revision_needs_no_handshake() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    with serving() as wire:
        wire.send("server/discover", {"_meta": meta}, ident=1)
        assert "2026-07-28" in wire.answer(1)["result"]["supportedVersions"]
        wire.send("tools/call", {**RUN, "_meta": meta}, ident=2)
        assert wire.answer(2)["result"]["structuredContent"]["exit_code"] == 0


def test_the_official_client_speaks_to_it() -> None:
    async def main() -> None:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-c", SERVER.format(guest="pass"), "--profile", "vm-full"], cwd=str(ROOT)
        )
        with anyio.fail_after(30):
            async with Client(parameters) as client:
                assert len((await client.list_tools()).tools) == 10
                assert not (await client.call_tool("vm_run", RUN["arguments"])).is_error  # type: ignore[arg-type]

    anyio.run(main)


def test_what_an_operation_prints_does_not_reach_the_protocol() -> None:
    with serving("print('noise', flush=True); os.write(1, b'noise'); os.system('echo noise')") as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        assert "result" in wire.answer(2)


def test_an_operation_finds_an_empty_stdin() -> None:
    with serving("assert os.read(0, 1) == b''") as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        assert not wire.answer(2)["result"].get("isError")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_after_the_calls_have_given_back(number: int) -> None:
    with serving(PATIENT) as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        wire.said(b"begun")
        wire.child.send_signal(number)
        wire.said(b"given back")
        assert wire.child.wait(20) == 0


def test_an_idle_server_ends_at_a_signal() -> None:
    with serving() as wire:
        wire.begin()
        wire.child.send_signal(signal.SIGTERM)
        assert wire.child.wait(20) == 0


def test_the_end_of_stdin_ends_it_after_the_calls_have_given_back() -> None:
    with serving(PATIENT) as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        wire.said(b"begun")
        wire.child.close_stdin()
        wire.said(b"given back")
        assert wire.child.wait(20) == 0


def test_a_cancelled_request_is_not_answered_and_the_server_goes_on() -> None:
    with serving(PATIENT) as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        wire.said(b"begun")
        wire.send("notifications/cancelled", {"requestId": 2, "reason": "not wanted"})
        wire.said(b"given back")
        deadline = Deadline(20, "the answer to a ping")
        wire.send("ping", ident=3)
        assert json.loads(wire.line())["id"] == 3
        deadline.check()


def test_a_request_from_a_file_is_answered(tmp_path: Path) -> None:
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    requests = tmp_path / "requests"
    requests.write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
    with requests.open("rb") as file:
        command = [sys.executable, "-c", SERVER.format(guest="pass")]
        with process.start(command, stdin=file.fileno(), stdout=process.PIPE, stderr=None, cwd=ROOT) as child:
            wire = Wire(child)
            assert wire.answer(1)["result"]["protocolVersion"] == "2025-06-18"
            assert "result" in wire.answer(2)
            assert child.wait(20) == 0


def test_a_profile_that_is_not_there_is_said_before_anything_is_served() -> None:
    with serving("pass", "--profile", "everything") as wire:
        wire.said(b"there is no profile 'everything'")
        assert wire.child.wait(20) == 1


def test_a_server_tells_a_person_what_workspaces_start_from() -> None:
    with serving("pass", "--no-project-source") as wire:
        wire.begin()
        wire.said(b"project source: none, as --no-project-source asks")
