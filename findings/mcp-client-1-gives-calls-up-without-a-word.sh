#!/usr/bin/env bash
# Behaviour: when the read timeout of a call passes, or the task that waits for it is cancelled, the client of mcp 1 tells the server nothing; that of mcp 2 sends notifications/cancelled.
# Guess: both send notifications/cancelled, as the protocol asks for, so that the server can stop working.
# Version: mcp 1.30.0 and mcp 2.3.0 (PyPI)
# Consequence: a server must limit the time of its calls itself; a client on mcp 1 that gives up has to cancel by other means.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check mcp==1.30.0

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

python3 -m venv two
two/bin/pip install -q --disable-pip-version-check mcp==2.3.0

cat > probe.py <<'PYTHON'
import asyncio
import datetime
import sys
from importlib.metadata import version

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

LIMIT = datetime.timedelta(seconds=1) if version("mcp").startswith("1.") else 1.0


async def main():
    async with (
        stdio_client(StdioServerParameters(command=sys.executable, args=["server.py"])) as streams,
        ClientSession(*streams) as session,
    ):
        await session.initialize()
        try:
            await session.call_tool("slow", {}, read_timeout_seconds=LIMIT)
        except Exception as error:
            print("gave up:", type(error).__name__)
        try:
            await asyncio.wait_for(session.call_tool("slow", {}), 1)
        except TimeoutError:
            print("cancelled the task")
        await session.call_tool("works", {})


asyncio.run(main())
with open("received") as log:
    print("the server was told:", log.read().count("notifications/cancelled"), "times")
PYTHON
venv/bin/python probe.py > seen 2> log
rm received
two/bin/python probe.py >> seen 2> log
diff - seen <<'SEEN'
gave up: McpError
cancelled the task
the server was told: 0 times
gave up: MCPError
cancelled the task
the server was told: 2 times
SEEN
