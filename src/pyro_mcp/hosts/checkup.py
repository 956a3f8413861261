"""Find out whether a host can work with us: what its configuration says, and what the server does when started."""

from __future__ import annotations

import json
import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass, field
from shutil import which
from typing import TYPE_CHECKING, Any, cast

from pyro_mcp import __version__
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.hosts.codex import VARIABLES
from pyro_mcp.hosts.host import LONG_CALL_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.hosts.host import Entry, Host

# Codex begins a turn 0.7 to 1.8 s after it has started a server, without the tools of one that has not answered.
SLOW_S = 0.7
_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_LAST_BYTES = 2000
_STATELESS = "2026-07-28"
_VERSION_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Checkup:
    """What was found about one host."""

    host: str
    installed: bool
    version: str
    configured: bool = False
    status: str = "ok"
    command: tuple[str, ...] = ()
    path: str = ""
    scope: str = ""
    answered_ms: int | None = None
    tool_count: int | None = None
    details: list[str] = field(default_factory=list[str])
    repair_command: str = ""

    def problem(self, text: str) -> None:
        """Record what is wrong."""
        self.details.append(text)
        self.status = "drifted"


def check(host: Host) -> Checkup:
    """Check one host. Its configuration is read only; its server is started once, as the host would."""
    found = Checkup(host.name, host.executable is not None, host.version())
    found.repair_command = f"pyro host repair {host.name}"
    try:
        entries = host.entries()
        found.details += host.remarks()
    except PyroError as error:
        found.problem(error.message)
        found.repair_command = ""
        return found
    if not found.installed:
        found.status, found.repair_command = "unavailable", ""
        found.configured = bool(entries)
        held = f"; the entry in {entries[0].place.path} has no effect before" if entries else ""
        found.details.append(f"{host.program} is not on PATH: install {host.title}, or add its directory to PATH{held}")
        return found
    if not entries:
        found.status, found.repair_command = "missing", f"pyro host connect {host.name}"
        return found
    entry = entries[0]
    found.configured, found.command = True, entry.command
    found.path, found.scope = str(entry.place.path), entry.place.scope.value
    if host.tested not in found.version:
        found.details.append(f"tried with {host.title} {host.tested}; this is {found.version or 'unknown'}")
    for other in entries[1:]:
        if other.command and other.command != entry.command:
            found.problem(f"the entry of scope {entry.place.scope} hides a different one in {other.place.path}")
    _check_entry(host, entry, found)
    return found


def _check_entry(host: Host, entry: Entry, found: Checkup) -> None:
    if not entry.enabled:
        found.problem(f"the entry in {entry.place.path} is switched off")
    if not entry.approves:
        found.details.append(f"{host.title} asks before our tools; connect with --approve to change that")
    else:
        found.details.append(f"approved: {host.title} calls our tools without asking")
    for fault in entry.faults:
        found.problem(fault)
    found.details += entry.remarks
    program, words = _split(entry.command)
    if not program:
        found.problem(f"the command is not that of an MCP server: {' '.join(entry.command)[:200]}")
        return
    environment = _environment(host, entry)
    shell = host.around.variables
    if lost := [name for name in VARIABLES if shell.get(name, "") != environment.get(name, "")]:
        found.problem(
            f"its server does not get {', '.join(lost)} as set here, and so has other workspaces than this shell"
        )
    if entry.gives_up_after_s is not None and entry.gives_up_after_s < LONG_CALL_S:
        found.problem(
            f"{host.title} gives calls up after {entry.gives_up_after_s:g} s; repair lets them take {LONG_CALL_S} s"
        )
    path = which(program[0], path=environment.get("PATH"))
    if path is None:
        found.problem(f"{program[0]} does not exist, or is not on the host's PATH")
        return
    _check_server(host, found, [path, *program[1:]], words, environment)


def _split(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what stands before `mcp serve` in a command, such as the words `uvx pyro`, and what stands from there."""
    words = list(command)
    at = next((each for each in range(1, len(words)) if words[each : each + 2] == ["mcp", "serve"]), 0)
    return words[:at], words[at:]


def _check_server(
    host: Host, found: Checkup, program: list[str], words: list[str], environment: Mapping[str, str]
) -> None:
    try:
        says = process.run([*program, "--version"], timeout_s=_VERSION_TIMEOUT_S, check=False, env=environment).text
        if says != f"pyro {__version__}":
            found.problem(f"{program[0]} is {says[:60] or 'not pyro'}, and this is pyro {__version__}")
            return
        elapsed_s, tools, status = start_server([*program, *words], environment, host.revision)
    except PyroError as error:
        where = f"; {host.title} keeps what servers print in {host.logs}" if host.logs else ""
        found.problem(f"the server did not start: {error.message}{where}")
        return
    found.answered_ms, found.tool_count = round(elapsed_s * 1000), tools
    if elapsed_s > SLOW_S:
        found.details.append(f"the server took {elapsed_s:.1f} s to answer; {host.title} may begin without its tools")
    if status != 0:
        found.problem(f"the server ended with status {status} when its stdin was closed")


def _environment(host: Host, entry: Entry) -> dict[str, str]:
    variables = host.around.variables
    passed = host.passed_variables if entry.variables is None else entry.variables
    return {name: value for name, value in variables.items() if passed is None or name in passed} | dict(entry.settings)


def start_server(command: Sequence[str], environment: Mapping[str, str], revision: str) -> tuple[float, int, int]:
    """Start an MCP server, ask for its tools as a host of this revision does, and end it.

    Returns the seconds until it had answered, the number of tools, and its exit status.

    Raises:
        PyroError: TIMEOUT, UNAVAILABLE if it does not answer as an MCP server does.
    """
    began = time.monotonic()
    pipe = process.PIPE
    with process.start(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        for message in _first_words(revision):
            _send(child, message)
        answers = _answers(child, 2)
        elapsed_s = time.monotonic() - began
        child.close_stdin()
        status = child.wait(_END_TIMEOUT_S)
        last_words = os.read(child.stderr or -1, _LAST_BYTES).decode("utf-8", "replace").strip()
    tools = cast("dict[str, Any]", answers.get(2, {}).get("result", {})).get("tools")
    if not isinstance(tools, list):
        raise PyroError(
            ErrorCode.UNAVAILABLE, f"it does not answer as an MCP server: {last_words or 'it printed nothing'}"
        )
    return elapsed_s, len(cast("list[object]", tools)), status


def _first_words(revision: str) -> list[dict[str, object]]:
    """Return what a client sends before its first call: a handshake, or since 2026-07-28 a discovery."""
    client = {"name": "pyro host doctor", "version": __version__}
    if revision < _STATELESS:
        asked = {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}
        return [
            {"id": 1, "method": "initialize", "params": asked},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/list"},
        ]
    told = {"protocolVersion": revision, "clientInfo": client, "clientCapabilities": {}}
    meta = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in told.items()}}
    return [
        {"id": 1, "method": "server/discover", "params": meta},
        {"id": 2, "method": "tools/list", "params": meta},
    ]


def _send(child: process.Child, message: dict[str, object]) -> None:
    # What a server that has ended did not print tells more.
    with suppress(BrokenPipeError):
        os.write(child.stdin or -1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def _answers(child: process.Child, count: int) -> dict[int, dict[str, Any]]:
    stdout = child.stdout or -1
    poller = select.poll()
    poller.register(stdout, select.POLLIN)
    deadline = time.monotonic() + _START_TIMEOUT_S
    data, found = b"", dict[int, dict[str, Any]]()
    while count not in found and poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(stdout, 1 << 20)
        if not chunk:
            break
        *lines, data = (data + chunk).split(b"\n")
        for line in lines:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                message = cast("dict[str, Any]", document)
                found[message.get("id", 0)] = message
    return found
