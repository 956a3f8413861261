"""Codex: its config.toml, edited here.

`codex mcp add` deletes comments and unknown keys of other servers, and overwrites an entry of the same name whole
(0.171.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.hosts.files import edit, read_toml, table_at, texts
from pyro_mcp.hosts.host import SERVER, Entry, Host, Place, Scope
from pyro_mcp.hosts.toml import remove_table, set_table

KEYS = ("mcp_servers", SERVER)
APPROVAL = "default_tools_approval_mode"
# Codex gives a server ten variables and those that are named: without these it would see another state directory.
VARIABLES = (
    "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYRO_STATE_DIR", "PYRO_RUNTIME_DIR",
    "PYRO_ENVIRONMENT_CACHE_DIR", "PYRO_VMM", "PYRO_ACCEL", "PYRO_REQUIRE_KVM",
)  # fmt: skip
# What Codex 0.171.0 gives a call without a setting, in seconds, and what we write.
_CALL_S, LONG_CALL_S = 300.0, 3600
_OWN = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


class Codex(Host):
    """Codex."""

    name, title, program, tested = "codex", "Codex", "codex", "0.171.0"
    scopes = (Scope.USER, Scope.PROJECT)
    passed_variables = (*_OWN, *VARIABLES)

    def places(self) -> list[Place]:
        """Return every place of an entry, the one that wins first."""
        home = self.around.path_of("CODEX_HOME", self.around.home / ".codex")
        return [
            Place(Scope.PROJECT, self.around.project() / ".codex" / "config.toml", KEYS),
            Place(Scope.USER, home / "config.toml", KEYS),
        ]

    def read(self, place: Place) -> Entry | None:
        """Return the entry at a place."""
        found = table_at(read_toml(place.path), place.keys)
        if found is None:
            return None
        command = (str(found.get("command", "")), *texts(found.get("args")))
        variables = (*_OWN, *texts(found.get("env_vars")))
        limit_s = found.get("tool_timeout_sec", _CALL_S)
        return Entry(
            place, command, found.get("enabled") is not False, found.get(APPROVAL) == "approve", variables,
            float(limit_s) if isinstance(limit_s, int | float) else _CALL_S,
        )  # fmt: skip

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
