"""OpenCode: its opencode.json or opencode.jsonc, comments kept.

It asks before no tool, so there is nothing to approve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp.hosts import jsonc
from pyro_mcp.hosts.files import edit, read_json, table_at, texts, variables_of
from pyro_mcp.hosts.host import SERVER, Entry, Host, Place, Scope

KEYS = ("mcp", SERVER)
_NAMES = ("opencode.json", "opencode.jsonc")


class OpenCode(Host):
    """OpenCode."""

    name, title, program, tested = "opencode", "OpenCode", "opencode", "1.18.33"
    merges, revision = True, "2025-11-25"
    logs = "~/.local/share/opencode/log/"
    scopes = (Scope.USER, Scope.PROJECT)

    def places(self) -> list[Place]:
        """Return every place of an entry, the one that wins first."""
        home = self.around.path_of("XDG_CONFIG_HOME", self.around.home / ".config") / "opencode"
        return [
            Place(Scope.PROJECT, _existing(self.around.project()), KEYS),
            Place(Scope.USER, _existing(home), KEYS),
        ]

    def layers(self) -> list[Place]:
        """Return every place that OpenCode reads here, the one that wins first."""
        home, variables = self.around.home, self.around.variables
        inside = self.around.inside_project()
        own = [Path(variables["OPENCODE_CONFIG_DIR"])] if variables.get("OPENCODE_CONFIG_DIR") else []
        named = [Path(variables["OPENCODE_CONFIG"])] if variables.get("OPENCODE_CONFIG") else []
        user = self.place_of(Scope.USER).path.parent
        # Of the directories .opencode, the outermost wins; of the files beside them, the innermost.
        strong = [*own, home / ".opencode", *(each / ".opencode" for each in reversed(inside))]
        paths = [
            *((path, Scope.USER if path in {*own, home / ".opencode"} else Scope.PROJECT) for path in _files(strong)),
            *((path, Scope.PROJECT) for path in _files(inside)),
            *((path, Scope.USER) for path in (*named, *_files([user]), user / "config.json")),
        ]
        return [Place(scope, path, KEYS) for path, scope in dict(paths).items()]

    def table(self, place: Place) -> dict[str, Any] | None:
        """Return the keys of the entry at a place."""
        return table_at(read_json(place.path), place.keys)

    def entry(self, place: Place, table: dict[str, Any]) -> Entry:
        """Return what the keys of an entry say."""
        return Entry(
            place, texts(table.get("command")), table.get("enabled") is not False, approves=True,
            settings=variables_of(table.get("environment")),
        )  # fmt: skip

    def remarks(self) -> list[str]:
        """Say so if a variable beats the files."""
        if "pyro" not in self.around.variables.get("OPENCODE_CONFIG_CONTENT", ""):
            return []
        return ["OPENCODE_CONFIG_CONTENT has something about pyro, and beats the files"]

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


def _files(directories: Sequence[Path]) -> list[Path]:
    return [directory / name for directory in directories for name in reversed(_NAMES)]


def _existing(directory: Path) -> Path:
    return next((directory / name for name in _NAMES if (directory / name).exists()), directory / _NAMES[0])


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in {"type", "command", "enabled"}}
