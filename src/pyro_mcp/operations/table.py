"""The table of operations.

Owns which families of rows there are and where a row is found: by its words on the command line, by its tool. Loads
only the family that is asked for, since every process pays for what it imports. Refuses to hold rows itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.operations.operation import Operation

# Each family's module, and the beginnings of the commands that its rows bring.
FAMILIES: dict[str, tuple[str, ...]] = {
    "run": ("run",),
    "vms": ("vm",),
    "environments": ("env",),
    "machine": ("doctor", "prepare", "demo"),
    "workspaces.lifecycle": tuple(
        f"workspace {verb}" for verb in ("create", "list", "update", "status", "stop", "start", "delete")
    ),
    "workspaces.commands": ("workspace exec", "workspace logs"),
    "workspaces.files": ("workspace sync", "workspace file", "workspace patch"),
    "workspaces.review": ("workspace diff", "workspace summary", "workspace export"),
    "workspaces.snapshots": ("workspace snapshot", "workspace reset"),
    "workspaces.disks": ("workspace disk",),
    "workspaces.shells": ("workspace shell",),
    "workspaces.services": ("workspace service",),
}
# The words that several commands begin with.
GROUPS = {
    "env": "Environments: the root file systems VMs start from.",
    "vm": "One-shot VMs, step by step.",
    "workspace": "Workspaces: VMs whose /workspace stays, to work in, review, reset and export from.",
    "workspace sync": "Bringing trees of this host into a workspace.",
    "workspace file": "Files of a workspace.",
    "workspace patch": "Patches for a workspace.",
    "workspace snapshot": "Named checkpoints of /workspace.",
    "workspace shell": "Shells in a workspace, which stay open between calls.",
    "workspace service": "Commands of a workspace that run on: servers, databases.",
    "workspace disk": "The file system of a stopped workspace, without starting it.",
}


def family(name: str) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of one family."""
    return import_module(f"pyro_mcp.operations.{name}").ROWS


def all_operations() -> tuple[Operation[Any, Any], ...]:
    """Return every row."""
    return tuple(row for name in FAMILIES for row in family(name))


def find_command(words: Sequence[str]) -> Operation[Any, Any] | None:
    """Return the row that these words of the command line begin with, or None."""
    for name, beginnings in FAMILIES.items():
        if any(begins(words, beginning) for beginning in beginnings):
            for row in family(name):
                if row.cli is not None and row.cli == tuple(words[: len(row.cli)]):
                    return row
    return None


def begins(words: Sequence[str], beginning: str) -> bool:
    """Say whether these words begin with those of `beginning`."""
    first = beginning.split(" ")
    return list(words[: len(first)]) == first


def commands_below(group: str) -> tuple[Operation[Any, Any], ...]:
    """Return the rows whose command begins with the words of `group`."""
    return tuple(row for row in all_operations() if row.cli is not None and begins(row.cli, group))


def find_tools(names: Sequence[str]) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of these tools, in the order of the names."""
    by_tool = {row.mcp: row for row in all_operations()}
    return tuple(by_tool[name] for name in names)
