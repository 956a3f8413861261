"""The hosts that can be connected, and those for which a configuration can be printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.hosts.claude_code import ClaudeCode
from pyro_mcp.hosts.codex import KEYS, VARIABLES, Codex
from pyro_mcp.hosts.host import SERVER, Host, Surroundings
from pyro_mcp.hosts.opencode import OpenCode
from pyro_mcp.hosts.toml import set_table

HOSTS: dict[str, type[Host]] = {each.name: each for each in (ClaudeCode, Codex, OpenCode)}


def find_host(name: str) -> Host:
    """Return a host that can be connected.

    Raises:
        PyroError: INVALID for an unknown one.
    """
    found = HOSTS.get(name)
    if found is None:
        more = f" `pyro host print-config {name}` prints its configuration." if name in CONFIGS else ""
        raise PyroError(ErrorCode.INVALID, f"{name!r} can't be connected", hint=f"Use one of {', '.join(HOSTS)}.{more}")
    return found(Surroundings.observe())


def config_of(name: str, command: Sequence[str]) -> tuple[str, str]:
    """Return the configuration for a host, and the file that it belongs in.

    Raises:
        PyroError: INVALID for an unknown host.
    """
    if name not in CONFIGS:
        raise PyroError(ErrorCode.INVALID, f"unknown host {name!r}", hint=f"Use one of {', '.join(CONFIGS)}.")
    place, render = CONFIGS[name]
    return render(list(command)), place


def _standard(command: list[str], **more: object) -> dict[str, object]:
    return {**more, "command": command[0], "args": command[1:]}


def _as_json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _servers(command: list[str], **more: object) -> str:
    return _as_json({"mcpServers": {SERVER: _standard(command, **more)}})


def _codex(command: list[str]) -> str:
    return set_table("", KEYS, {**_standard(command), "env_vars": list(VARIABLES), "startup_timeout_sec": 60})


def _opencode(command: list[str]) -> str:
    entry = {"type": "local", "command": command, "enabled": True, "timeout": 120_000}
    return _as_json({"$schema": "https://opencode.ai/config.json", "mcp": {SERVER: entry}})


def _vscode(command: list[str]) -> str:
    return _as_json({"servers": {SERVER: _standard(command, type="stdio")}})


def _zed(command: list[str]) -> str:
    return _as_json({"context_servers": {SERVER: {**_standard(command), "env": {}}}})


def _goose(command: list[str]) -> str:
    lines = [
        "extensions:",
        f"  {SERVER}:",
        "    type: stdio",
        f"    name: {SERVER}",
        "    enabled: true",
        # JSON's strings and lists are YAML's.
        f"    cmd: {json.dumps(command[0])}",
        f"    args: {json.dumps(command[1:])}",
        "    timeout: 3600",
    ]
    return "\n".join(lines) + "\n"


CONFIGS: dict[str, tuple[str, Callable[[list[str]], str]]] = {
    "claude-code": (".mcp.json in the project", lambda command: _servers(command, type="stdio")),
    "codex": ("~/.codex/config.toml", _codex),
    "opencode": ("~/.config/opencode/opencode.json", _opencode),
    "claude-desktop": ("~/.config/Claude/claude_desktop_config.json", _servers),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json in the project", _servers),
    "vscode": (".vscode/mcp.json in the project", _vscode),
    "zed": ("~/.config/zed/settings.json", _zed),
    "goose": ("~/.config/goose/config.yaml", _goose),
    "gemini-cli": ("~/.gemini/settings.json", _servers),
}
