#!/usr/bin/env bash
# Behaviour: of a tool result that has text and structuredContent, the model is shown the structure alone, also if the text says something else; of an error as well.
# Guess: the model is shown the text, which is what content is for, and the program that runs the agent gets the structure.
# Version: pydantic-ai-slim 2.68.0 with its extra mcp, mcp 1.30.0 (PyPI)
# Consequence: put everything that a model must know into the structure too, or leave the structure out.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check 'pydantic-ai-slim[mcp]==2.68.0' mcp==1.30.0

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

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

CALLS = ["works", "fails"]


def model(messages, _info):
    for part in messages[-1].parts:
        if part.part_kind != "user-prompt":
            print(f"{part.tool_name}: {part.content}")
    done = sum(isinstance(message, ModelResponse) for message in messages)
    return ModelResponse(parts=[ToolCallPart(CALLS[done], {}) if done < len(CALLS) else TextPart("done")])


async def main():
    tools = MCPToolset(StdioTransport(command=sys.executable, args=["server.py"]))
    await Agent(FunctionModel(model), toolsets=[tools]).run("Call both tools.")


asyncio.run(main())
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
works: {'count': 1}
fails: {"count":0}
SEEN
