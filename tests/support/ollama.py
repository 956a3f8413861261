"""A stub of Ollama on loopback: its OpenAI-compatible API, its ids, its errors, and what it refuses to read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.real_hosts.scripted_model import ScriptedModel, served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tests.support.recipes.recipe import Step

    Document = dict[str, Any]

MODEL = "llama3.2:3b"
WITHOUT_TOOLS = "gemma:2b"


class OllamaStub(ScriptedModel):
    """Ollama with two models, one of which takes no tools."""

    def refusal(self, path: str, body: Document) -> tuple[int, Document] | None:
        model = body["model"]
        if path != "/v1/chat/completions":
            return 404, {"error": "no such path"}
        if model not in {MODEL, WITHOUT_TOOLS}:
            return _error(404, "not_found_error", f"model {model!r} not found")
        if model == WITHOUT_TOOLS and body.get("tools"):
            return _error(400, "invalid_request_error", f"registry.ollama.ai/library/{model} does not support tools")
        for message in body["messages"]:
            calls: list[Document] = message.get("tool_calls") or []
            if not isinstance(message.get("content"), str) and not calls:
                return _error(400, "invalid_request_error", "invalid message content type: <nil>")
            for call in calls:
                try:
                    json.loads(call["function"]["arguments"])
                except (TypeError, ValueError):
                    return _error(400, "invalid_request_error", "invalid tool call arguments")
        return None


def _error(status: int, kind: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": kind, "param": None, "code": None}}


def ollama(steps: Sequence[Step]) -> AbstractContextManager[OllamaStub]:
    """Serve a stub whose model makes these calls."""
    return served(OllamaStub(steps))
