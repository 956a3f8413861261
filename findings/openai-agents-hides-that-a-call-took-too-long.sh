#!/usr/bin/env bash
# Behaviour: an MCP call that takes longer than five seconds is given up by default, and the model is told nothing but to try again.
# Guess: a call may take minutes; if there is a limit, the model is told that it was the limit.
# Version: openai-agents 0.24.0, mcp 2.3.0 (PyPI)
# Consequence: give MCPServerStdio client_session_timeout_seconds, and a failure_error_function that names the reason.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openai-agents==0.24.0 mcp==2.3.0

cat > server.py <<'PYTHON'
import json
import sys
import threading
import time

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("works", "fails", "slow")]
TEXT = [{"type": "text", "text": "text for the model"}]
RESULTS = {
    "works": {"content": TEXT, "structuredContent": {"count": 1}},
    "fails": {"content": TEXT, "structuredContent": {"count": 0}, "isError": True},
    "slow": {"content": TEXT},
}


def answer(ident, result, after=0):
    time.sleep(after)
    print(json.dumps({"jsonrpc": "2.0", "id": ident, "result": result}), flush=True)


for line in sys.stdin:
    message = json.loads(line)
    with open("received", "a") as log:
        print(message["method"], file=log)
    match message["method"]:
        case "initialize":
            about = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            answer(message["id"], {**about, "serverInfo": {"name": "probe", "version": "1"}})
        case "tools/list":
            answer(message["id"], {"tools": TOOLS})
        case "tools/call":
            name = message["params"]["name"]
            call = message["id"], RESULTS[name], 7 if name == "slow" else 0
            threading.Thread(target=answer, args=call, daemon=True).start()
        case method if "id" in message:
            error = {"code": -32601, "message": f"no method {method}"}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
PYTHON

cat > probe.py <<'PYTHON'
import asyncio
import sys

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio
from agents.testing import ScriptedModel, assistant_message, function_call

set_tracing_disabled(True)


async def main():
    for more in ({}, {"client_session_timeout_seconds": 60}):
        model = ScriptedModel([[function_call("slow", {}, call_id="call_1")], [assistant_message("done")]])
        async with MCPServerStdio({"command": sys.executable, "args": ["server.py"]}, **more) as server:
            result = await Runner.run(Agent(name="probe", model=model, mcp_servers=[server]), "Call it.")
        print([item.output for item in result.new_items if item.type == "tool_call_output_item"])


asyncio.run(main())
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
['An error occurred while running the tool. Please try again.']
[{'type': 'text', 'text': 'text for the model'}]
SEEN
