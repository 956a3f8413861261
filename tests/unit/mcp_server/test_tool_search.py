"""Plain requests find the tools that start something, in each host's search for tools.

Claude Code 2.1.332 holds tools back and shows five hits of a search by words in names, descriptions and search hints;
Codex 0.171.0 shows eight of a BM25 search in names and descriptions. OpenCode 1.18.33 shows all tools.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import pytest

from pyro_mcp.mcp_server.server import listing
from pyro_mcp.operations.profiles import find_profile

REQUESTS = (
    "run the tests in a sandbox",
    "run this untrusted script somewhere safe",
    "execute code in an isolated environment",
    "start a virtual machine",
    "create a container for this project",
    "docker run python",
    "build the project in a clean environment",
    "try a dangerous command safely",
    "install dependencies without touching my machine",
    "reproduce the bug in a fresh checkout",
    "run pytest in isolation",
    "give me a disposable dev environment",
    "check whether this repository builds from scratch",
    "run npm test in a container",
    "evaluate code that nobody has reviewed",
    "open a sandbox and run the build",
    "spin up a VM and run a shell command",
    "test my changes in a throwaway machine",
    "run a command in a microVM",
    "isolated workspace to run the project's tests",
)
STARTS = {"workspace_create", "vm_run"}
_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("_", " "))


def by_words(tools: list[dict[str, Any]], request: str, count: int) -> list[str]:
    """Return the names of the best hits: a word counts most in a name, then in a search hint."""

    def score(tool: dict[str, Any]) -> int:
        hint = tool.get("_meta", {}).get("anthropic/searchHint", "")
        places = ((tool["name"], 4), (hint, 3), (tool["description"], 1))
        return sum(weight for word in set(words(request)) for text, weight in places if word in words(text))

    return [tool["name"] for tool in sorted(tools, key=score, reverse=True)[:count]]


def by_bm25(tools: list[dict[str, Any]], request: str, count: int, k: float = 1.2, b: float = 0.75) -> list[str]:
    """Return the names of the best hits by the usual formula."""
    texts = {tool["name"]: Counter(words(f"{tool['name']} {tool['title']} {tool['description']}")) for tool in tools}
    average = sum(text.total() for text in texts.values()) / len(texts)

    def score(name: str) -> float:
        text, total = texts[name], 0.0
        for word in words(request):
            holding = sum(word in each for each in texts.values())
            rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            found = text[word]
            total += rarity * found * (k + 1) / (found + k * (1 - b + b * text.total() / average))
        return total

    return sorted(texts, key=score, reverse=True)[:count]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_plain_request_finds_a_tool_that_starts_something(request_: str) -> None:
    tools = listing(find_profile(None))["tools"]
    assert STARTS & set(by_words(tools, request_, 5)), by_words(tools, request_, 5)
    assert STARTS & set(by_bm25(tools, request_, 8)), by_bm25(tools, request_, 8)


@pytest.mark.parametrize("mode", ["repro-fix", "inspect", "cold-start", "review-eval"])
def test_so_it_does_in_a_mode(mode: str) -> None:
    tools = listing(find_profile(None, mode))["tools"]
    for each in REQUESTS:
        assert "workspace_create" in by_words(tools, each, 5), each
        assert "workspace_create" in by_bm25(tools, each, 8), each
