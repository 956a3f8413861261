#!/usr/bin/env python3
"""A LangChain agent with pyro's MCP server.

Install: pip install langchain langchain-openai langchain-mcp-adapters, and pyro-mcp on its own: pipx install pyro-mcp
         (langchain-mcp-adapters needs an older mcp package than pyro-mcp)
Run:     OPENAI_API_KEY=… python langchain_agent.py      (OPENAI_BASE_URL, OPENAI_MODEL as usual)
"""

from __future__ import annotations

import asyncio
import os

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = "Create a workspace, find out in it which Python it has, delete the workspace, and tell me."
SERVER = {
    "transport": "stdio",
    "command": "pyro",
    "args": ["mcp", "serve", "--profile", "workspace-core"],
    # Otherwise the server gets HOME, PATH and little else: none of your PYRO_ variables.
    "env": dict(os.environ),
}


async def main() -> None:
    # client.get_tools() would start a server for every call.
    async with MultiServerMCPClient({"pyro": SERVER}).session("pyro") as session:
        agent = create_agent(ChatOpenAI(model=MODEL), await load_mcp_tools(session))
        state = await agent.ainvoke({"messages": [{"role": "user", "content": TASK}]})
    for message in state["messages"]:
        for call in getattr(message, "tool_calls", []):
            print(call["name"], call["args"])
    print(state["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main())
