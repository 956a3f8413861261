#!/usr/bin/env bash
# Behaviour: the second error result of an MCP tool ends the whole run with an exception, although another tool has worked in between.
# Guess: each error is shown to the model, which goes on or gives up; only a limit on requests or tokens ends the run.
# Version: pydantic-ai-slim 2.68.0 with its extra mcp, mcp 1.30.0 (PyPI)
# Consequence: give MCPToolset tool_error_behavior="failed", or a max_retries that fits long work.
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

CALLS = ["fails", "works", "fails", "works"]


def model(messages, _info):
    done = sum(isinstance(message, ModelResponse) for message in messages)
    if done < len(CALLS):
        print("calls", CALLS[done])
    return ModelResponse(parts=[ToolCallPart(CALLS[done], {}) if done < len(CALLS) else TextPart("done")])


async def main():
    for behaviour in ("retry", "failed"):
        transport = StdioTransport(command=sys.executable, args=["server.py"])
        tools = MCPToolset(transport, tool_error_behavior=behaviour)
        try:
            print(behaviour, (await Agent(FunctionModel(model), toolsets=[tools]).run("Call them.")).output)
        except Exception as error:
            print(behaviour, type(error).__name__)


asyncio.run(main())
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
calls fails
calls works
calls fails
retry UnexpectedModelBehavior
calls fails
calls works
calls fails
calls works
failed done
SEEN
