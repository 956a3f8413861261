"""Codex: its config.toml, edited here.

`codex mcp add` deletes comments and unknown keys of other servers, and overwrites an entry of the same name whole
(0.171.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp.hosts.files import at_path, edit, read_toml, table_at, texts, variables_of
from pyro_mcp.hosts.host import LONG_CALL_S, SERVER, Entry, Host, Place, Scope
from pyro_mcp.hosts.toml import remove_table, set_table

KEYS = ("mcp_servers", SERVER)
APPROVAL = "default_tools_approval_mode"
# Codex gives a server ten variables and those that are named: without these it would see another state directory.
VARIABLES = (
    "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYRO_STATE_DIR", "PYRO_RUNTIME_DIR",
    "PYRO_ENVIRONMENT_CACHE_DIR", "PYRO_VMM", "PYRO_ACCEL", "PYRO_REQUIRE_KVM",
)  # fmt: skip
# What Codex 0.171.0 gives a call without a setting, in seconds.
_CALL_S = 300.0
_OWN = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


class Codex(Host):
    """Codex."""

    name, title, program, tested = "codex", "Codex", "codex", "0.171.0"
    scopes = (Scope.USER, Scope.PROJECT)
    passed_variables = (*_OWN, *VARIABLES)
    merges, revision = True, "2025-06-18"

    def places(self) -> list[Place]:
        """Return every place of an entry, the one that wins first."""
        home = self.around.path_of("CODEX_HOME", self.around.home / ".codex")
        return [
            Place(Scope.PROJECT, self.around.project() / ".codex" / "config.toml", KEYS),
            Place(Scope.USER, home / "config.toml", KEYS),
        ]

    def layers(self) -> list[Place]:
        """Return every place that Codex reads here, the one that wins first."""
        user = self.place_of(Scope.USER)
        inner = self._project_places() if self._is_trusted() else []
        return [*inner, user]

    def table(self, place: Place) -> dict[str, Any] | None:
        """Return the keys of the entry at a place."""
        return table_at(read_toml(place.path), place.keys)

    def entry(self, place: Place, table: dict[str, Any]) -> Entry:
        """Return what the keys of an entry say."""
        command = (str(table.get("command", "")), *texts(table.get("args")))
        variables = (*_OWN, *texts(table.get("env_vars")))
        limit_s = table.get("tool_timeout_sec", _CALL_S)
        chosen = [name for name in ("enabled_tools", "disabled_tools") if name in table]
        return Entry(
            place, command, table.get("enabled") is not False, table.get(APPROVAL) == "approve", variables,
            float(limit_s) if isinstance(limit_s, int | float) else _CALL_S, variables_of(table.get("env")),
            remarks=tuple(f"the entry has {name}: Codex shows only some of our tools" for name in chosen),
        )  # fmt: skip

    def remarks(self) -> list[str]:
        """Say so if Codex does not look at an entry of the project."""
        if self._is_trusted():
            return []
        held = [place.path for place in self._project_places() if self.table(place) is not None]
        return [f"Codex does not use {path}: it does not trust this project" for path in held]

    def _project_places(self) -> list[Place]:
        user = self.place_of(Scope.USER).path
        paths = [each / ".codex" / "config.toml" for each in self.around.inside_project()]
        return [Place(Scope.PROJECT, path, KEYS) for path in paths if path != user]

    def _is_trusted(self) -> bool:
        told = read_toml(self.place_of(Scope.USER).path)
        project = str(self.around.project())
        return at_path(told, ("projects", project, "trust_level")) == "trusted"

    def connect(self, scope: Scope, command: Sequence[str], *, approve: bool) -> list[Path]:
        """Write the entry; return the files that changed."""
        values: dict[str, object] = {
            "command": command[0],
            "args": list(command[1:]),
            "env_vars": list(VARIABLES),
            "startup_timeout_sec": 60,
            "tool_timeout_sec": LONG_CALL_S,
        }
        if approve:
            values[APPROVAL] = "approve"
        path = self.place_of(scope).path
        return [path] if edit(path, lambda text: set_table(text, KEYS, values)) else []

    def disconnect(self, scope: Scope) -> list[Path]:
        """Remove the entry and its approval; return the files that changed."""
        path = self.place_of(scope).path
        return [path] if edit(path, lambda text: remove_table(text, KEYS)) else []
