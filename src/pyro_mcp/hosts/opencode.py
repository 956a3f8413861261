"""OpenCode: its opencode.json or opencode.jsonc, comments kept.

It asks before no tool, so there is nothing to approve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp.hosts import jsonc
from pyro_mcp.hosts.files import edit, read_json, table_at, texts
from pyro_mcp.hosts.host import SERVER, Entry, Host, Place, Scope

KEYS = ("mcp", SERVER)
_NAMES = ("opencode.json", "opencode.jsonc")


class OpenCode(Host):
    """OpenCode."""

    name, title, program, tested = "opencode", "OpenCode", "opencode", "1.18.33"
    logs = "~/.local/share/opencode/log/"
    scopes = (Scope.USER, Scope.PROJECT)

    def places(self) -> list[Place]:
        """Return every place of an entry, the one that wins first."""
        home = self.around.path_of("XDG_CONFIG_HOME", self.around.home / ".config") / "opencode"
        return [
            Place(Scope.PROJECT, _existing(self.around.project()), KEYS),
            Place(Scope.USER, _existing(home), KEYS),
        ]

    def read(self, place: Place) -> Entry | None:
        """Return the entry at a place."""
        found = table_at(read_json(place.path), place.keys)
        if found is None:
            return None
        return Entry(place, texts(found.get("command")), found.get("enabled") is not False, approves=True)

    def connect(self, scope: Scope, command: Sequence[str], *, approve: bool) -> list[Path]:
        """Write the entry; return the files that changed."""
        del approve
        place = self.place_of(scope)
        held = table_at(read_json(place.path), KEYS) or {}
        # Two minutes between two messages of progress, which come every ten seconds.
        entry = {"type": "local", "command": list(command), "enabled": True, "timeout": 120_000, **_kept(held)}
        return [place.path] if edit(place.path, lambda text: jsonc.set_member(text, KEYS, entry)) else []

    def disconnect(self, scope: Scope) -> list[Path]:
        """Remove the entry and its approval; return the files that changed."""
        path = self.place_of(scope).path
        if not path.exists():
            return []
        return [path] if edit(path, lambda text: jsonc.remove_member(text, KEYS)) else []


def _existing(directory: Path) -> Path:
    return next((directory / name for name in _NAMES if (directory / name).exists()), directory / _NAMES[0])


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in {"type", "command", "enabled"}}
