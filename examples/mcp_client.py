#!/usr/bin/env python3
"""Start the server, list its tools and call one, as a chat host does, with the official MCP SDK."""

from __future__ import annotations

import os
import sys

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

# For an installed pyro: command="pyro", args=["mcp", "serve"].
SERVER = StdioServerParameters(command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve"], env=dict(os.environ))


async def main() -> None:
    async with Client(SERVER) as client:
        for tool in (await client.list_tools()).tools:
            print(tool.name, "-", tool.title)
        answer = await client.call_tool("vm_run", {"environment": "debian:12", "command": "cat /etc/debian_version"})
        print(answer.structured_content["stdout"], end="")


if __name__ == "__main__":
    anyio.run(main)
