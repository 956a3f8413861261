"""The answers given before the SDK is loaded are the SDK's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyro_mcp.mcp_server.first_answers import HANDSHAKE_VERSIONS, MODERN_VERSION
from tests.support.python import run_python

CLIENT = {"name": "test", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
# Both servers on the same lines; the second one has loaded the SDK before it reads.
BOTH = """
import io, os, sys
from pyro_mcp.operations.host_access import host_access
from pyro_mcp.operations.profiles import find_profile
from pyro_mcp.operations.project import Project
from pyro_mcp.mcp_server.first_answers import Handover
from pyro_mcp.mcp_server.serve import serve_stdio
chosen = find_profile(sys.argv[3], None)
if sys.argv[2] == "project":
    chosen = chosen.serving("debian:13-build", Project(repo_url="https://me:secret@example.com/a.git", repo_ref="v1"))
elif sys.argv[2]:
    chosen = chosen.serving(None, None, sys.argv[2])
if sys.argv[1] == "sdk":
    from pyro_mcp.mcp_server.server import PyroServer
    from pyro_mcp.mcp_server.session import serve
    from pyro_mcp.operations.runner import Runner
    serve(PyroServer(chosen, Runner(), host_access(())), Handover())
else:
    serve_stdio(chosen, host_access(()))
    assert "mcp" not in sys.modules
"""


def handshake(version: str) -> list[dict[str, Any]]:
    asked = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
    return [
        {"id": 1, "method": "initialize", "params": asked},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {"_meta": {"progressToken": 7}}},
        {"id": "three", "method": "ping"},
    ]


DIALOGUES = {version: handshake(version) for version in ("2025-06-18", HANDSHAKE_VERSIONS[-1], "1999-01-01")}
DIALOGUES["discover"] = [
    {"id": 1, "method": "server/discover", "params": {"_meta": META}},
    {"id": 2, "method": "tools/list", "params": {"_meta": META}},
]


@pytest.mark.parametrize("name", DIALOGUES)
def test_both_say_the_same(name: str) -> None:
    lines = b"".join(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in DIALOGUES[name])
    first, sdk = (answers(lines, which) for which in ("first", "sdk"))
    assert first == sdk
    assert len(first) == sum("id" in each for each in DIALOGUES[name])


def test_both_describe_what_the_server_was_started_with() -> None:
    lines = b"".join(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in DIALOGUES["discover"])
    first, sdk = (answers(lines, which, "project") for which in ("first", "sdk"))
    assert first == sdk
    tools = {tool["name"]: tool for tool in first["2"]["tools"]}
    create = tools["workspace_create"]
    assert "Without seed_path it starts from a clean clone of https://example.com/a.git at v1." in create["description"]
    for tool in (create, tools["vm_run"]):
        schema = tool["inputSchema"]
        assert "environment" not in schema.get("required", [])
        assert schema["properties"]["environment"]["default"] == "debian:13-build"
        assert "Default debian:13-build." in schema["properties"]["environment"]["description"]


@pytest.mark.parametrize("profile", ["workspace-core", "workspace-full"])
@pytest.mark.parametrize(("policy", "sentence"), [("off", "no network inside."), ("egress", "reach the internet")])
def test_both_describe_the_network_that_all_guests_get(profile: str, policy: str, sentence: str) -> None:
    lines = b"".join(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in DIALOGUES["discover"])
    first, sdk = (answers(lines, which, policy, profile) for which in ("first", "sdk"))
    assert first == sdk
    assert sentence in first["1"]["instructions"]
    tools = {tool["name"]: tool for tool in first["2"]["tools"]}
    assert tools["workspace_exec"]["annotations"]["openWorldHint"] == (policy == "egress")
    for name in ("workspace_create", "vm_run"):
        assert not {"network", "network_policy"} & tools[name]["inputSchema"]["properties"].keys()


def answers(lines: bytes, which: str, how: str = "", profile: str = "workspace-core") -> dict[str, Any]:
    printed = run_python(BOTH, which, how, profile, stdin=lines).text
    documents = [json.loads(line) for line in printed.splitlines()]
    return {repr(each["id"]): each["result"] for each in documents}
