"""`pyro demo ollama`: a local model is given a task and the tools for one-shot VMs, and its calls are carried out."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Protocol, cast

from pyro_mcp.cli.builtins.ollama.client import Document, Ollama, base_url_of
from pyro_mcp.cli.parsing import Parsed
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import put, put_json, say
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.host_access import host_access
from pyro_mcp.operations.printable import printable, printable_line
from pyro_mcp.operations.profiles import Profile, find_profile
from pyro_mcp.operations.runner import Runner

MAX_ROUNDS = 12
_SYSTEM = (
    "You have tools that run commands in disposable Linux virtual machines. Call them; never guess what a command would"
    " print. When you have the result, answer in one short sentence."
)
_REMINDER = "You have not called a tool. Call vm_run with the command."
# Everything else has a default, and a small model does better without it.
SHOWN = frozenset({"environment", "command", "timeout_seconds", "vm_id"})
_LOGGED_CHARS = 300
# Ollama's default context is 4096 tokens, and what does not fit is dropped from the beginning of the conversation.
RESULT_CHARS = 4000


class Tools(Protocol):
    """The server whose tools the model gets."""

    async def list_tools(self) -> list[Any]:
        """Return the tools."""
        ...

    async def call_tool(self, name: str, arguments: Document) -> tuple[list[Any], Document]:
        """Call one; return its content and its structured result."""
        ...


@dataclass
class Conversation:
    """What was said and done so far."""

    tools: Tools
    log: Log
    names: set[str] = field(default_factory=set[str])
    calls: list[Document] = field(default_factory=list[Document])
    #: VMs that the model created and that still exist.
    vms: set[str] = field(default_factory=set[str])

    def offered(self) -> list[Document]:
        """Return the tools as chat completions take them."""
        listed = asyncio.run(self.tools.list_tools())
        self.names = {tool.name for tool in listed}
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in listed
        ]

    def call(self, number: int, asked: Document) -> str:
        """Carry out a call of the model; return the text for it. A failure is text, too."""
        function = cast("Document", asked.get("function") or {})
        name, given = str(function.get("name")), function.get("arguments") or "{}"
        self.log.line(f"round={number} tool={name} arguments={given}")
        began = time.monotonic()
        text, facts = self._carried_out(name, given)
        told: Document = {"round": number, "tool": name, "arguments": given, "ok": facts.get("ok") is not False}
        told |= {each: facts[each] for each in ("exit_code", "execution_mode", "isolation") if each in facts}
        told["duration_ms"] = round((time.monotonic() - began) * 1000)
        self.calls.append({**told, "result": text})
        shown = [f"{key}={_shown(told[key])}" for key in told if key not in {"round", "tool", "arguments"}]
        self.log.line(f"round={number} tool={name} {' '.join(shown)}")
        self.log.detail(text)
        return text

    def delete_vms(self) -> None:
        """Delete the VMs that the model has left."""
        for vm_id in sorted(self.vms):
            self._called("vm_delete", {"vm_id": vm_id})

    def _carried_out(self, name: str, given: object) -> tuple[str, Document]:
        try:
            # Ollama sends text; some servers that speak the same API send the object.
            arguments = json.loads(given) if isinstance(given, str) else given
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return "error: the arguments must be a JSON object", {"ok": False}
        if name not in self.names:
            return f"error: there is no tool {name!r}; there are {', '.join(sorted(self.names))}", {"ok": False}
        text, facts = self._called(name, cast("Document", arguments))
        if facts.get("ok") is not False and (vm_id := facts.get("vm_id")):
            keep = self.vms.add if name == "vm_create" else self.vms.discard
            if name in {"vm_create", "vm_exec", "vm_delete"}:
                keep(str(vm_id))
        return text, facts

    def _called(self, name: str, arguments: Document) -> tuple[str, Document]:
        content, facts = asyncio.run(self.tools.call_tool(name, arguments))
        text = "\n".join(each.text for each in content)
        if (left_out := len(text) - RESULT_CHARS) > 0:
            text = f"{text[: RESULT_CHARS // 2]}\n({left_out} characters left out)\n{text[-RESULT_CHARS // 2 :]}"
        return text, facts


@dataclass(frozen=True)
class Log:
    """Lines on stderr: none, one for each step, or the whole conversation."""

    quiet: bool
    verbose: bool

    def line(self, text: str) -> None:
        """Log a step."""
        if not self.quiet:
            text = printable_line(text)
            whole = self.verbose or len(text) <= _LOGGED_CHARS
            say(f"[demo] {text if whole else text[:_LOGGED_CHARS] + '…'}")

    def detail(self, text: str) -> None:
        """Log what only somebody who asked for everything wants to read."""
        if self.verbose and not self.quiet:
            say(printable(text))


def demo_ollama(
    *, parsed: Parsed, base_url: str | None, model: str, environment: str, prompt: str, verbose: bool
) -> int:
    """Let a model carry out a task with the tools; return the exit status.

    Raises:
        PyroError: what Ollama failed at; UNSUPPORTED if the model got no command to run in a VM.
    """
    log = Log(quiet=parsed.json, verbose=verbose)
    ollama = Ollama(base_url_of(base_url, os.environ), os.environ.get("OLLAMA_API_KEY", ""))
    began = time.monotonic()
    with interruptible():
        conversation = Conversation(tools_of(environment), log)
        try:
            answer, rounds = _converse(ollama, model, prompt, conversation)
        finally:
            conversation.delete_vms()
    ran = [each for each in conversation.calls if each["ok"] and "execution_mode" in each and "exit_code" in each]
    last = next((each for each in reversed(ran) if each["exit_code"] == 0), ran[-1] if ran else {})
    facts: Document = {
        "model": model,
        "base_url": ollama.base_url,
        "environment": environment,
        "rounds": rounds,
        "calls": len(conversation.calls),
        "failed": sum(not each["ok"] for each in conversation.calls),
        **{key: last.get(key) for key in ("exit_code", "execution_mode", "isolation")},
        "duration_ms": round((time.monotonic() - began) * 1000),
    }
    document = {**facts, "prompt": prompt, "answer": answer, "tool_calls": conversation.calls}
    if not parsed.json:
        put(printable(answer))
    log.line(" ".join(f"{key}={_shown(value)}" for key, value in facts.items() if value is not None))
    if last.get("exit_code") != 0:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"the model {model!r} has run no command with success",
            hint="Try again, or give a model that is better at calling tools with `--model`, for example qwen3:8b.",
            details=document,
        )
    if parsed.json:
        put_json(document)
    return 0


def tools_of(environment: str) -> Tools:
    """Return a server of the tools for one-shot VMs, with the arguments that a model is shown."""
    profile = find_profile("vm-full").serving(environment, None)
    rows = import_module("pyro_mcp.operations.table").find_tools(profile.tools)
    from pyro_mcp.operations.fields import parameters

    hidden = {each.name for row in rows for each in parameters(row.request, "mcp")} - SHOWN
    # By name, since surfaces do not know each other.
    server = import_module("pyro_mcp.mcp_server.server").PyroServer
    chosen: Profile = replace(profile, hidden=frozenset(hidden))
    return cast("Tools", server(chosen, Runner(), host_access((), None)))


def _converse(ollama: Ollama, model: str, prompt: str, conversation: Conversation) -> tuple[str, int]:
    """Return the model's answer and the number of times that it was asked."""
    tools = conversation.offered()
    log = conversation.log
    log.line(f"model={model} base_url={ollama.base_url} tools={len(tools)} prompt={prompt}")
    messages: list[Document] = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": prompt}]
    reminded = False
    for number in range(1, MAX_ROUNDS + 1):
        message = ollama.message(model, messages, tools)
        log.detail(json.dumps(message, indent=2))
        calls = cast("list[Document]", message.get("tool_calls") or [])
        content = str(message.get("content") or "")
        if not calls:
            if conversation.calls or reminded:
                return content, number
            reminded = True
            log.line(f"round={number} no tool was called: reminding the model")
            messages += [{"role": "assistant", "content": content}, {"role": "user", "content": _REMINDER}]
            continue
        messages.append({"role": "assistant", "content": content, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": each.get("id"), "content": conversation.call(number, each)}
            for each in calls
        ]
    return "", MAX_ROUNDS


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
