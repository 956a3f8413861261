#!/usr/bin/env bash
# Behaviour: the structuredContent of a result is the artifact of the tool message, but of an error result it is dropped.
# Guess: an error keeps its structure, as its text is kept: a program looks there for the kind of error.
# Version: langchain-mcp-adapters 0.3.2, langchain-core 1.8.3, mcp 1.30.0 (PyPI)
# Consequence: take what a program needs of an error from its text, or read it in a tool interceptor.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check langchain-mcp-adapters==0.3.2 langchain-core==1.8.3 mcp==1.30.0

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

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

SERVER = {"transport": "stdio", "command": sys.executable, "args": ["server.py"]}


async def main():
    async with MultiServerMCPClient({"probe": SERVER}).session("probe") as session:
        for tool in await load_mcp_tools(session):
            if tool.name != "slow":
                message = await tool.ainvoke({"type": "tool_call", "name": tool.name, "args": {}, "id": "call_1"})
                print(tool.name, message.status, message.content[0]["text"], message.artifact)


asyncio.run(main())
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
works success text for the model {'structured_content': {'count': 1}}
fails error text for the model None
SEEN
