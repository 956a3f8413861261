#!/usr/bin/env python3
"""The OpenAI Agents SDK with pyro's MCP server.

Install: pip install openai-agents; pyro-mcp there too, or on its own (pipx install pyro-mcp)
Run:     OPENAI_API_KEY=… python openai_agents_sdk.py      (OPENAI_BASE_URL, OPENAI_MODEL as usual)
"""

from __future__ import annotations

import asyncio
import os

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = "Create a workspace, find out in it which Python it has, delete the workspace, and tell me."
SERVER = {
    "command": "pyro",
    "args": ["mcp", "serve", "--profile", "workspace-core"],
    # Otherwise the server gets HOME, PATH and little else: none of your PYRO_ variables.
    "env": dict(os.environ),
}


async def main() -> None:
    # Traces would take everything that commands print to OpenAI.
    set_tracing_disabled(True)
    # The default, 5 seconds for a call, is too short for commands; pyro has time limits of its own.
    async with MCPServerStdio(SERVER, client_session_timeout_seconds=3600, cache_tools_list=True) as server:
        agent = Agent(name="Worker", model=MODEL, mcp_servers=[server])
        result = await Runner.run(agent, TASK)
    for item in result.new_items:
        if item.type == "tool_call_item":
            print(item.raw_item.name, item.raw_item.arguments)
    print(result.final_output)


if __name__ == "__main__":
    asyncio.run(main())
