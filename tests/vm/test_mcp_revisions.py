"""Each revision of MCP in the field, over stdio: the first request, the listing, and a call in a real guest."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.host import process
from tests.support.mcp_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm
CLIENT = {"name": "test", "version": "1"}
HANDSHAKES = ("2025-06-18", "2025-11-25")
STATELESS = "2026-07-28"


@pytest.fixture(scope="module")
def workspace_id() -> Generator[str]:
    """Create a workspace for all revisions."""
    with Pyro() as pyro:
        created = pyro.create_workspace("debian:12")
        yield created.workspace_id
        pyro.delete_workspace(created.workspace_id)


@contextmanager
def served() -> Generator[Wire]:
    command = [sys.executable, "-m", "pyro_mcp", "mcp", "serve"]
    with process.start(command, stdin=process.PIPE, stdout=process.PIPE, env=dict(os.environ)) as child:
        yield Wire(child)
        child.close_stdin()
        assert child.wait(30) == 0


def list_and_call(wire: Wire, workspace_id: str, meta: dict[str, Any]) -> None:
    wire.send("tools/list", meta, ident=2)
    schemas = {tool["name"]: tool["outputSchema"] for tool in wire.answer(2)["result"]["tools"]}
    arguments = {"workspace_id": workspace_id, "command": "git --version; echo err >&2; exit 3"}
    wire.send("tools/call", {**meta, "name": "workspace_exec", "arguments": arguments}, ident=3)
    result = wire.answer(3)["result"]
    structure = result["structuredContent"]
    assert not result.get("isError")
    assert structure["stdout"].startswith("git version 2.")
    assert (structure["stderr"], structure["exit_code"]) == ("err\n", 3)
    assert structure.keys() <= schemas["workspace_exec"]["properties"].keys()
    assert "git version 2." in result["content"][0]["text"]
    wire.send("tools/call", {**meta, "name": "workspace_exec", "arguments": {"workspace_id": "ws_no"}}, ident=4)
    refused = wire.answer(4)["result"]
    assert refused["isError"]
    assert refused["content"][0]["text"].startswith("error (invalid): the argument command is missing")
    assert refused["structuredContent"]["error"]["code"] == "invalid"


@pytest.mark.parametrize("revision", HANDSHAKES)
def test_a_revision_with_a_handshake_lists_and_calls(revision: str, workspace_id: str) -> None:
    with served() as wire:
        asked = {"protocolVersion": revision, "capabilities": {}, "clientInfo": CLIENT}
        wire.send("initialize", asked, ident=1)
        assert wire.answer(1)["result"]["protocolVersion"] == revision
        wire.send("notifications/initialized")
        list_and_call(wire, workspace_id, {})


def test_the_revision_without_a_handshake_lists_and_calls(workspace_id: str) -> None:
    prefix = "io.modelcontextprotocol"
    told = {
        f"{prefix}/protocolVersion": STATELESS,
        f"{prefix}/clientInfo": CLIENT,
        f"{prefix}/clientCapabilities": {},
    }
    with served() as wire:
        wire.send("server/discover", {"_meta": told}, ident=1)
        assert STATELESS in wire.answer(1)["result"]["supportedVersions"]
        list_and_call(wire, workspace_id, {"_meta": told})
