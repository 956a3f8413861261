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
from pyro_mcp.mcp_server.first_answers import Handover
from pyro_mcp.mcp_server.serve import serve_stdio
if sys.argv[1] == "sdk":
    from pyro_mcp.mcp_server import session
    session.run(find_profile(None, None), host_access(()), Handover())
else:
    serve_stdio(find_profile(None, None), host_access(()))
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


def answers(lines: bytes, which: str) -> dict[str, Any]:
    printed = run_python(BOTH, which, stdin=lines).text
    documents = [json.loads(line) for line in printed.splitlines()]
    return {repr(each["id"]): each["result"] for each in documents}
