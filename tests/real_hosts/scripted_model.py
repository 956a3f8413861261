"""A model that plays a list of tool calls, over the three APIs of the chat hosts, on loopback.

It keeps no state: which call comes next follows from the results in the request, so a host may ask again. A tool is
found by the end of its name, since each host puts something else before it; where it is not offered but a search for
tools is, that comes first. After the last call it says DONE. Requests without tools get a short text.
"""

# What hosts send has no types here.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from tests.support.recipes.recipe import filled, keep

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from tests.support.recipes.recipe import Step

DONE = "all steps are done"
SEARCHES = ("ToolSearch", "tool_search")
_SEARCH_ID = "search"

Document = dict[str, Any]
S = TypeVar("S", bound="ScriptedModel")


@dataclass(frozen=True)
class Tool:
    """A tool that the host offers, as it has to be named in a call."""

    name: str
    kind: str = "function"
    namespace: str = ""


@dataclass(frozen=True)
class Call:
    """A call that the model makes."""

    ident: str
    tool: Tool
    arguments: Document


class Api(Protocol):
    """How a host speaks with its model."""

    def results(self, body: Document) -> list[tuple[str, str]]:
        """Return the results of calls, each with the call's id."""
        ...

    def tools(self, body: Document) -> list[Tool]:
        """Return the tools on offer."""
        ...

    def answer(self, text: str, call: Call | None) -> Iterator[tuple[str, Document]]:
        """Give the events of an answer."""
        ...


def text_of(content: Any) -> str:
    """Return the text of a piece of content."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(text_of, cast("list[Any]", content)))
    document = cast("Document", content or {})
    return text_of(document.get("text") or document.get("content") or document.get("output") or json.dumps(document))


class Messages:
    """Anthropic's Messages: Claude Code."""

    def results(self, body: Document) -> list[tuple[str, str]]:
        blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
        return [(b["tool_use_id"], text_of(b.get("content"))) for b in blocks if b.get("type") == "tool_result"]

    def tools(self, body: Document) -> list[Tool]:
        return [Tool(each["name"]) for each in body.get("tools") or [] if "name" in each]

    def answer(self, text: str, call: Call | None) -> Iterator[tuple[str, Document]]:
        empty: Document = {"type": "text", "text": ""}
        delta: Document = {"type": "text_delta", "text": text}
        if call is not None:
            empty = {"type": "tool_use", "id": call.ident, "name": call.tool.name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": []}
        yield "message_start", {"message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
        yield "content_block_start", {"index": 0, "content_block": empty}
        yield "content_block_delta", {"index": 0, "delta": delta}
        yield "content_block_stop", {"index": 0}
        stop = "end_turn" if call is None else "tool_use"
        yield "message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage}
        yield "message_stop", {}


def items_of(body: Document) -> list[Document]:
    """Return the items of a request's input, which may be only text."""
    return body["input"] if isinstance(body["input"], list) else []


class Responses:
    """OpenAI's Responses: Codex."""

    def results(self, body: Document) -> list[tuple[str, str]]:
        items = [
            item for item in items_of(body) if str(item.get("type", "")).endswith(("call_output", "search_output"))
        ]
        return [(item["call_id"], text_of(item.get("output") or item.get("tools"))) for item in items]

    def tools(self, body: Document) -> list[Tool]:
        listed = [*(body.get("tools") or []), *(each for item in items_of(body) for each in item.get("tools") or [])]
        found: list[Tool] = []
        for each in listed:
            inner = each.get("tools", []) if each.get("type") == "namespace" else [each]
            space = each["name"] if each.get("type") == "namespace" else ""
            found += [Tool(tool.get("name") or tool["type"], tool.get("type", "function"), space) for tool in inner]
        return found

    def answer(self, text: str, call: Call | None) -> Iterator[tuple[str, Document]]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item: Document = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
        if call is not None:
            item = {"call_id": call.ident, "status": "completed", "name": call.tool.name}
            if call.tool.kind == "tool_search":
                item |= {"type": "tool_search_call", "execution": "client", "arguments": call.arguments}
            else:
                item |= {"type": "function_call", "arguments": json.dumps(call.arguments)}
            item |= {"namespace": call.tool.namespace} if call.tool.namespace else {}
        usage: Document = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": usage}
        response |= {
            "created_at": 0,
            "model": "scripted",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        yield "response.created", {"response": {**response, "status": "in_progress", "output": []}}
        yield "response.output_item.added", {"output_index": 0, "item": item}
        yield "response.output_item.done", {"output_index": 0, "item": item}
        yield "response.completed", {"response": response}

    def whole(self, text: str, call: Call | None) -> Document:
        """Return the answer to a request that does not stream."""
        return list(self.answer(text, call))[-1][1]["response"]


class Chat:
    """OpenAI's chat completions: OpenCode, and most others."""

    def results(self, body: Document) -> list[tuple[str, str]]:
        return [(m["tool_call_id"], text_of(m.get("content"))) for m in body["messages"] if m.get("role") == "tool"]

    def tools(self, body: Document) -> list[Tool]:
        return [Tool(each["function"]["name"]) for each in body.get("tools") or []]

    def answer(self, text: str, call: Call | None) -> Iterator[tuple[str, Document]]:
        delta: Document = {"role": "assistant", "content": text or None}
        if call is not None:
            function = {"name": call.tool.name, "arguments": json.dumps(call.arguments)}
            delta["tool_calls"] = [{"index": 0, "id": call.ident, "type": "function", "function": function}]
        chunk = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        finish = "stop" if call is None else "tool_calls"
        yield "", {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield "", {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}

    def whole(self, text: str, call: Call | None) -> Document:
        """Return the answer to a request that does not stream."""
        begun, ended = (chunk for _, chunk in self.answer(text, call))
        choice = {"index": 0, "message": begun["choices"][0]["delta"]}
        choice |= {"finish_reason": ended["choices"][0]["finish_reason"]}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {**begun, "object": "chat.completion", "choices": [choice], "usage": usage}


APIS: dict[str, Api] = {"/messages": Messages(), "/responses": Responses(), "/chat/completions": Chat()}


class ScriptedModel(ThreadingHTTPServer):
    """The server: what it plays, and what it was told."""

    daemon_threads = True

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._steps = steps
        #: The results that the host has passed on, of the request with the most of them.
        self.results: list[str] = []
        #: Of each request that offered tools at all: whether ours were among them, or a search for them.
        self.offered: list[bool] = []
        #: Every request.
        self.requests: list[Document] = []
        #: What each was authorized with.
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def refusal(self, _path: str, _body: Document) -> tuple[int, Document] | None:
        """Return the status and the document with which a request is refused."""
        return None

    def next(self, api: Api, body: Document) -> tuple[str, Call | None]:
        """Return the text or the call that comes next."""
        tools, results = api.tools(body), api.results(body)
        if not tools:
            return "ok", None
        answered = [text for ident, text in results if not ident.startswith(_SEARCH_ID)]
        if len(answered) > len(self.results):
            self.results = answered
        self.offered.append(any(_is(each, step.tool) for each in tools for step in self._steps))
        if len(answered) >= len(self._steps):
            return DONE, None
        kept: dict[str, str] = {}
        for step, text in zip(self._steps, answered, strict=False):
            keep(step.keep, text, kept)
        number, step = len(answered), self._steps[len(answered)]
        tool = next((each for each in tools if _is(each, step.tool)), None)
        if tool is None:
            search = next((each for each in tools if each.name in SEARCHES), None)
            if search is None or any(ident == f"{_SEARCH_ID}_{number}" for ident, _ in results):
                return f"there is no tool {step.tool}", None
            return "", Call(f"{_SEARCH_ID}_{number}", search, {"query": step.tool})
        return "", Call(f"call_{number}", tool, filled(step.arguments, kept))


def _is(tool: Tool, wanted: str) -> bool:
    return re.search(rf"(^|[_.]){wanted}$", tool.name) is not None


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedModel  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass

    def do_HEAD(self) -> None:
        self._send(200, b"", "text/plain")

    def do_GET(self) -> None:
        models = {"object": "list", "data": [{"id": "scripted", "object": "model"}]}
        self._send(200, json.dumps(models).encode(), "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        path = self.path.partition("?")[0]
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if refusal := self.server.refusal(path, body):
            self._send(refusal[0], json.dumps(refusal[1]).encode(), "application/json")
            return
        api = next((each for end, each in APIS.items() if path.endswith(end)), None)
        if api is None:
            self._send(200, b'{"input_tokens": 1}', "application/json")
            return
        if isinstance(api, (Responses, Chat)) and not body.get("stream"):
            whole = api.whole(*self.server.next(api, body))
            self._send(200, json.dumps(whole).encode(), "application/json")
            return
        events = [
            f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"
            if name
            else f"data: {json.dumps(data)}\n\n"
            for name, data in api.answer(*self.server.next(api, body))
        ]
        self._send(200, "".join([*events, "data: [DONE]\n\n" * isinstance(api, Chat)]).encode(), "text/event-stream")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def scripted_model(steps: Sequence[Step]) -> Generator[ScriptedModel]:
    """Serve a model that plays `steps`."""
    with served(ScriptedModel(steps)) as model:
        yield model


@contextmanager
def served(server: S) -> Generator[S]:
    """Run a server of one of these kinds."""
    with server as model:
        thread = threading.Thread(target=model.serve_forever, args=(0.05,), name="scripted-model")
        thread.start()
        try:
            yield model
        finally:
            model.shutdown()
            thread.join()
