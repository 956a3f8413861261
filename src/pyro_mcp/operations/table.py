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

# Each family's module, and the first words of the commands that its rows bring.
FAMILIES = {
    "run": ("run",),
    "vms": ("vm",),
    "environments": ("env",),
    "machine": ("doctor", "prepare", "demo"),
}
GROUPS = {"env": "Environments: the root file systems VMs start from.", "vm": "One-shot VMs, step by step."}


def family(name: str) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of one family."""
    return import_module(f"pyro_mcp.operations.{name}").ROWS


def all_operations() -> tuple[Operation[Any, Any], ...]:
    """Return every row."""
    return tuple(row for name in FAMILIES for row in family(name))


def find_command(words: Sequence[str]) -> Operation[Any, Any] | None:
    """Return the row that these words of the command line begin with, or None."""
    for name, firsts in FAMILIES.items():
        if words and words[0] in firsts:
            for row in family(name):
                if row.cli is not None and row.cli == tuple(words[: len(row.cli)]):
                    return row
    return None


def commands_below(group: str) -> tuple[Operation[Any, Any], ...]:
    """Return the rows whose command begins with the word `group`."""
    return tuple(
        row
        for name, firsts in FAMILIES.items()
        if group in firsts
        for row in family(name)
        if row.cli is not None and row.cli[0] == group
    )


def find_tools(names: Sequence[str]) -> tuple[Operation[Any, Any], ...]:
    """Return the rows of these tools, in the order of the names."""
    by_tool = {row.mcp: row for row in all_operations()}
    return tuple(by_tool[name] for name in names)
