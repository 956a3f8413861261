"""Shell completion, made by shtab from the same rows as everything else.

No other command loads this module: it builds the parsers of all commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import shtab

from pyro_mcp.cli.builtins import BUILTINS
from pyro_mcp.cli.commands import GROUPS, SUMMARIES
from pyro_mcp.cli.execution import shape_of
from pyro_mcp.cli.parsing import fill_parser
from pyro_mcp.cli.shape import FILE_SUFFIX, Shape
from pyro_mcp.cli.streams import put
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.operations.profiles import MODES, PROFILES
from pyro_mcp.operations.table import all_operations

# Asks pyro itself, by the name that it was called by: ids and names are in the first two columns of the list.
_BASH = """
_pyro_workspaces() {
  local known
  known=$("${COMP_WORDS[0]}" workspace list 2>/dev/null | awk 'NR > 1 { print $1; if ($2 != "-") print $2 }')
  compgen -W "$known" -- "$1"
}
"""
_ZSH = """
_pyro_workspaces() {
  local -a known
  known=(${(f)"$(${words[1]} workspace list 2>/dev/null | awk 'NR > 1 { print $1; if ($2 != "-") print $2 }')"})
  compadd -a known
}
"""
_PREAMBLE = {"bash": _BASH, "zsh": _ZSH}
_WORKSPACES = {"bash": "_pyro_workspaces", "zsh": "_pyro_workspaces"}


def print_script(shell: str) -> int:
    """Print the completion script for `shell`."""
    put(shtab.complete(full_parser(), shell=shell, preamble=_PREAMBLE[shell]))
    return 0


def full_parser() -> argparse.ArgumentParser:
    """Return one parser for all commands."""
    parser = argparse.ArgumentParser(prog="pyro", description="Disposable virtual machines.")
    parser.add_argument("--version", action="version", version="pyro")
    # By the words of each group; those of no group stand at the top.
    homes: dict[str, Any] = {"": parser.add_subparsers(dest="command")}
    for group, about in GROUPS.items():
        above, _, word = group.rpartition(" ")
        made = homes[above].add_parser(word, help=about, description=about)
        homes[group] = made.add_subparsers(dest=group)
    for shape in _shapes():
        *above, word = shape.words
        summary = SUMMARIES[shape.path]
        leaf = homes[" ".join(above)].add_parser(word, help=summary, description=summary, add_help=False)
        fill_parser(leaf, shape)
        _offer(leaf, shape)
    return parser


def _shapes() -> list[Shape]:
    rows = [shape_of(row) for row in all_operations() if row.cli is not None]
    return rows + [builtin.shape for builtin in BUILTINS]


def _offer(parser: argparse.ArgumentParser, shape: Shape) -> None:
    """Set what a shell offers for the values of a command's arguments."""
    offers = {parameter.name: _values(parameter.completes) for parameter in shape.parameters}
    asked = {parameter.name: parameter.completes for parameter in shape.parameters}
    for action in parser._actions:
        if values := offers.get(action.dest):
            action.choices = list(values)
        elif asked.get(action.dest) == "workspace":
            # shtab reads this attribute, which argparse does not have.
            vars(action)["complete"] = _WORKSPACES
        elif asked.get(action.dest) == "host path" or action.dest.endswith(FILE_SUFFIX):
            vars(action)["complete"] = shtab.FILE


def _values(what: str) -> Sequence[str]:
    match what:
        case "environment":
            from pyro_mcp.image.catalog import load_catalog

            return [environment.name for environment in load_catalog().environments]
        case "profile":
            return list(PROFILES)
        case "mode":
            return list(MODES)
        case "network policy":
            return [policy.value for policy in NetworkPolicy]
        case "shell":
            return ["bash", "zsh"]
        case _:
            return []
