#!/usr/bin/env bash
# Behaviour: an MCPServer tool that is called with an argument it does not have drops it and runs with the default, and the schema it publishes does not forbid such arguments.
# Guess: an unknown argument is a validation error, as a Python function would raise for it.
# Version: mcp 2.3.0 (PyPI)
# Consequence: a model that misspells an argument is never told; use the low-level server with strict schemas and check them.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check mcp==2.3.0

cat > probe.py <<'PYTHON'
import anyio
from mcp import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("probe", log_level="CRITICAL")


@server.tool()
def wait(timeout_seconds: int = 30) -> str:
    return f"waits {timeout_seconds} s"


async def main() -> None:
    async with Client(server) as client:
        schema = (await client.list_tools()).tools[0].input_schema
        print("additionalProperties:", schema.get("additionalProperties"))
        answer = await client.call_tool("wait", {"timeout": 5})
        print("error:", answer.is_error, "-", answer.content[0].text)


anyio.run(main)
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
additionalProperties: None
error: False - waits 30 s
SEEN
