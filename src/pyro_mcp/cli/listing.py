"""The help of `pyro` and of a group of commands, and the error for a command that does not exist."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyro_mcp.cli.commands import GROUPS, SUMMARIES
from pyro_mcp.cli.streams import STDOUT, put, say
from pyro_mcp.errors import PyroError
from pyro_mcp.operations.table import begins

_WIDTH = 25
_FIRST = (
    ("pyro doctor", "Is this machine fit for it?"),
    ("pyro prepare", "Install debian:12; VMs start fast from then on."),
    ("pyro run debian:12 -- ls", "Run a command in a VM of its own."),
    ("pyro host connect HOST", "Add pyro to claude-code, codex or opencode,"),
    ("pyro mcp serve", "or serve it to another chat host."),
)
OK, USAGE = 0, 2
_HELP_OPTIONS = frozenset({"-h", "--help"})


def show(words: Sequence[str]) -> int:
    """Show all commands, or a group's.

    Raises:
        UsageError: there is no such command.
    """
    asked = [word for word in words if word not in _HELP_OPTIONS]
    if not asked:
        # `pyro` alone prints help, but that is no success.
        return _help(overview(), asked_for=bool(words))
    group = max((each for each in GROUPS if begins(asked, each)), key=len, default="")
    rest = asked[len(group.split()) :]
    if not rest:
        return _help(group_overview(group), asked_for=len(words) > len(asked))
    raise _unknown(rest[0], group)


def _unknown(word: str, group: str) -> PyroError:
    from pyro_mcp.cli.usage import UsageError, suggestion, with_help

    if word.startswith("-"):
        return UsageError(f"unknown option {word[:60]}", hint=with_help(group))
    known = {rest for rest, _ in _below(group)}
    known |= {each.partition(" ")[0] for each in known}
    command = f"pyro {group}".rstrip()
    if f"workspace {word}" in SUMMARIES and not group and word not in _destructive("workspace"):
        return UsageError(
            f"{command} has no command {word!r}", hint=with_help("workspace", f"Did you mean workspace {word}?")
        )
    hint = with_help(group, suggestion(word, sorted(known), destructive=_destructive(group)))
    return UsageError(f"{command} has no command {word[:60]!r}", hint=hint)


def _destructive(group: str) -> set[str]:
    """Return the destructive commands of a group, without its words."""
    from pyro_mcp.operations.operation import Effect
    from pyro_mcp.operations.table import all_operations

    inside = f"{group} ".lstrip()
    commands = [" ".join(row.cli or ()) for row in all_operations() if row.effect is Effect.DESTROY]
    return {command.removeprefix(inside) for command in commands if command.startswith(inside)}


def overview() -> str:
    """Return the help of `pyro` itself."""
    lines = ["usage: pyro COMMAND …", "", "Disposable virtual machines for chat-based coding agents.", ""]
    lines += ["start here:", *(_line(command, what) for command, what in _FIRST), ""]
    lines += ["commands:", *(_line(command, summary) for command, summary in SUMMARIES.items() if " " not in command)]
    for group, about in GROUPS.items():
        if " " not in group:
            lines += ["", f"{about}"]
            lines += [
                _line(command, summary) for command, summary in SUMMARIES.items() if command.startswith(f"{group} ")
            ]
    lines += [
        "",
        "Short: ws for workspace, ls for list, rm for delete, images for env list.",
        "pyro COMMAND --help shows a command in detail; pyro --version shows the release.",
    ]
    return "\n".join(lines)


def group_overview(group: str) -> str:
    """Return the help of one group of commands."""
    lines = [f"usage: pyro {group} COMMAND …", "", GROUPS[group], ""]
    lines += [_line(rest, summary) for rest, summary in _below(group)]
    return "\n".join(lines)


def _below(group: str) -> list[tuple[str, str]]:
    """Return the commands of a group (all, if it is "") without its words, and their summaries."""
    inside = f"{group} ".lstrip()
    return [(name.removeprefix(inside), summary) for name, summary in SUMMARIES.items() if name.startswith(inside)]


def _help(text: str, *, asked_for: bool) -> int:
    if asked_for:
        put(text)
        return OK
    say(text)
    return USAGE


def _line(name: str, summary: str) -> str:
    line = f"  {name:<{_WIDTH}} {summary}"
    if os.isatty(STDOUT) and len(line) > os.get_terminal_size(STDOUT).columns:
        return f"  {name}\n      {summary}"
    return line
