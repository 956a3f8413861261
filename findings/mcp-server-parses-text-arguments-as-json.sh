#!/usr/bin/env bash
# Behaviour: an MCPServer tool parses a text argument as JSON unless its annotation is plain `str`: for `str | None`, "null" arrives as None and "[1]" is refused.
# Guess: a text argument that the published schema allows arrives as it was sent.
# Version: mcp 2.3.0 (PyPI)
# Consequence: annotate parameters that take free text with plain `str`, and give them a text as default.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check mcp==2.3.0

cat > probe.py <<'PYTHON'
import logging

import anyio
from mcp import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("probe", log_level="CRITICAL")


@server.tool()
def plain(text: str) -> str:
    return repr(text)


@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)


@server.tool()
def either(text: list[str] | str) -> str:
    return repr(text)


async def main() -> None:
    async with Client(server) as client:
        for name, sent in [
            ("plain", "null"), ("optional", "null"), ("optional", "12"), ("optional", "[1]"), ("either", '["a"]'),
        ]:
            answer = await client.call_tool(name, {"text": sent})
            print(name, repr(sent), "->", "refused" if answer.is_error else answer.content[0].text)


anyio.run(main)
PYTHON
venv/bin/python probe.py > seen 2> log
diff - seen <<'SEEN'
plain 'null' -> 'null'
optional 'null' -> None
optional '12' -> '12'
optional '[1]' -> refused
either '["a"]' -> ['a']
SEEN
