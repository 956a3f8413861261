"""Claude Code: entries through `claude mcp add-json`, approval in its settings.

`claude mcp add` takes neither alwaysLoad nor a timeout, and add-json refuses a name that exists, so an entry that
differs is removed first, and put back if adding the new one fails (2.1.332).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.hosts import jsonc
from pyro_mcp.hosts.files import at_path, edit, read_json, table_at, texts, variables_of
from pyro_mcp.hosts.host import LONG_CALL_S, SERVER, Entry, Host, Place, Scope

PERMISSION = f"mcp__{SERVER}"
_ALLOW, _DENY = ("permissions", "allow"), ("permissions", "deny")
_PENDING = "Claude Code asks once, in an interactive session, whether this project's .mcp.json may be used"
_TIMEOUT_S = 60


class ClaudeCode(Host):
    """Claude Code."""

    name, title, program, tested = "claude-code", "Claude Code", "claude", "2.1.332"
    logs = "~/.cache/claude-cli-nodejs/PROJECT/mcp-logs-pyro/"
    scopes = (Scope.USER, Scope.PROJECT, Scope.LOCAL)
    revision = "2026-07-28"

    def places(self) -> list[Place]:
        """Return every place of an entry, the one that wins first."""
        variables, home = self.around.variables, self.around.home
        main = (
            Path(variables["CLAUDE_CONFIG_DIR"]) / ".claude.json"
            if variables.get("CLAUDE_CONFIG_DIR")
            else home / ".claude.json"
        )
        project = self.around.project()
        return [
            Place(Scope.LOCAL, main, ("projects", str(project), "mcpServers", SERVER)),
            Place(Scope.PROJECT, self.around.directory / ".mcp.json", ("mcpServers", SERVER)),
            Place(Scope.USER, main, ("mcpServers", SERVER)),
        ]

    def layers(self) -> list[Place]:
        """Return every place that Claude Code reads here, the one that wins first."""
        local, project, user = self.places()
        outer = [
            Place(Scope.PROJECT, each / ".mcp.json", project.keys)
            for each in self.around.directory.parents
            if (each / ".mcp.json").exists()
        ]
        return [local, project, *outer, user]

    def table(self, place: Place) -> dict[str, Any] | None:
        """Return the keys of the entry at a place."""
        return table_at(read_json(place.path), place.keys)

    def entry(self, place: Place, table: dict[str, Any]) -> Entry:
        """Return what the keys of an entry say."""
        limit_ms = table.get("timeout")
        return Entry(
            place, _command(table), self._is_enabled(place.scope), self._listed(_ALLOW, PERMISSION),
            gives_up_after_s=limit_ms / 1000 if isinstance(limit_ms, int | float) else None,
            settings=variables_of(table.get("env")),
            faults=("the settings of Claude Code deny our tools",) if self._listed(_DENY, PERMISSION) else (),
            remarks=(_PENDING,) if place.scope is Scope.PROJECT and not self._is_accepted() else (),
        )  # fmt: skip

    def connect(self, scope: Scope, command: Sequence[str], *, approve: bool) -> list[Path]:
        """Write the entry; return the files that changed."""
        place = self.place_of(scope)
        before = table_at(read_json(place.path), place.keys)
        # Read, so that a broken file is met before anything is written.
        read_json(self._settings(scope))
        entry = {**_kept(before or {}), "type": "stdio", "command": command[0], "args": list(command[1:])}
        changed: list[Path] = []
        if before != entry:
            if before is not None:
                self._call("remove", "-s", scope, SERVER)
            try:
                self._call("add-json", "-s", scope, SERVER, json.dumps(entry))
            except PyroError:
                if before is not None:
                    self._call("add-json", "-s", scope, SERVER, json.dumps(before))
                raise
            changed.append(place.path)
        if approve and edit(self._settings(scope), lambda text: _allowed(text, wanted=True)):
            changed.append(self._settings(scope))
        return changed

    def disconnect(self, scope: Scope) -> list[Path]:
        """Remove the entry and its approval; return the files that changed."""
        place = self.place_of(scope)
        changed: list[Path] = []
        if at_path(read_json(place.path), place.keys) is not None:
            self._call("remove", "-s", scope, SERVER)
            changed.append(place.path)
        settings = self._settings(scope)
        if settings.exists() and edit(settings, lambda text: _allowed(text, wanted=False)):
            changed.append(settings)
        return changed

    def _settings(self, scope: Scope) -> Path:
        if scope is Scope.USER:
            return self.around.path_of("CLAUDE_CONFIG_DIR", self.around.home / ".claude") / "settings.json"
        name = "settings.json" if scope is Scope.PROJECT else "settings.local.json"
        return self.around.directory / ".claude" / name

    def _listed(self, keys: tuple[str, ...], word: str) -> bool:
        return any(word in texts(at_path(read_json(self._settings(scope)), keys)) for scope in self.scopes)

    def _is_enabled(self, scope: Scope) -> bool:
        main = self.place_of(Scope.USER).path
        off = texts(at_path(read_json(main), ("projects", str(self.around.project()), "disabledMcpServers")))
        return SERVER not in off and not (scope is Scope.PROJECT and self._listed(("disabledMcpjsonServers",), SERVER))

    def _is_accepted(self) -> bool:
        every = any(read_json(self._settings(scope)).get("enableAllProjectMcpServers") is True for scope in self.scopes)
        return every or self._listed(("enabledMcpjsonServers",), SERVER)

    def _call(self, *words: str) -> None:
        if self.executable is None:
            raise PyroError(
                ErrorCode.MISSING_PROGRAM,
                "claude is not on PATH",
                hint="Install Claude Code, or write what `pyro host print-config claude-code` prints.",
            )
        done = process.run(
            [self.executable, "mcp", *words], timeout_s=_TIMEOUT_S, check=False, cwd=self.around.directory
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-1000:]
            raise PyroError(ErrorCode.UNAVAILABLE, f"claude mcp {words[0]} failed: {said}")


def _command(entry: dict[str, Any]) -> tuple[str, ...]:
    return (str(entry.get("command", "")), *texts(entry.get("args")))


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a person added to an entry, except a limit that is too short for a long command."""
    limit_ms = entry.get("timeout")
    is_short = isinstance(limit_ms, int | float) and limit_ms < LONG_CALL_S * 1000
    return {name: value for name, value in entry.items() if not (is_short and name == "timeout")}


def _allowed(text: str, *, wanted: bool) -> str:
    """Return settings in which our tools are allowed, or not."""
    value: object = jsonc.parse(text).value if text.strip() else None
    held = texts(at_path(cast("dict[str, Any]", value) if isinstance(value, dict) else {}, _ALLOW))
    if (PERMISSION in held) == wanted:
        return text
    if wanted:
        return jsonc.set_member(text, _ALLOW, [*held, PERMISSION])
    rest = [each for each in held if each != PERMISSION]
    return jsonc.set_member(text, _ALLOW, rest) if rest else jsonc.remove_member(text, _ALLOW)
