"""What commands there are: help, and the answer to a word that is none of them.

Owns the overview of all commands and of one group. Refuses to know options: a command's own help shows those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.cli.commands import BUILTIN_GROUPS, BUILTINS
from pyro_mcp.cli.parsing import HELP_OPTIONS
from pyro_mcp.cli.streams import put, say
from pyro_mcp.cli.usage import UsageError, suggestion, with_help
from pyro_mcp.operations.table import GROUPS, all_operations, begins

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 25
OK, USAGE = 0, 2


def show(words: Sequence[str]) -> int:
    """Show the commands there are (all, or a group's), or say that a word is none.

    Raises:
        UsageError: there is no such command.
    """
    asked = [word for word in words if word not in HELP_OPTIONS]
    if not asked:
        # Who types `pyro` alone gets help, but nothing was done.
        return _help(overview(), asked_for=bool(words))
    group = max((each for each in groups() if begins(asked, each)), key=len, default="")
    rest = asked[len(group.split()) :]
    if not rest:
        return _help(group_overview(group), asked_for=len(words) > len(asked))
    if rest[0].startswith("-"):
        raise UsageError(f"there is no option {rest[0][:60]}", hint=with_help(group))
    depth = len(group.split())
    known = {" ".join(path[depth:]) for path, _ in entries() if begins(path, group) or not group}
    known |= {each.partition(" ")[0] for each in known}
    command = f"pyro {group}".rstrip()
    raise UsageError(
        f"{command} has no command {rest[0][:60]!r}", hint=with_help(group, suggestion(rest[0], sorted(known)))
    )


def groups() -> dict[str, str]:
    """Return the words that several commands begin with, and what each is about; those within a group after it."""
    return {**GROUPS, **BUILTIN_GROUPS}


def entries() -> list[tuple[tuple[str, ...], str]]:
    """Return every command's words and summary."""
    rows = [(row.cli, row.summary) for row in all_operations() if row.cli is not None]
    return rows + [(builtin.shape.words, builtin.summary) for builtin in BUILTINS]


def overview() -> str:
    """Return the help of `pyro` itself."""
    single = [(path, summary) for path, summary in entries() if len(path) == 1]
    lines = ["usage: pyro COMMAND …", "", "Disposable virtual machines for chat-based coding agents.", ""]
    lines += ["commands:", *(_line(path[0], summary) for path, summary in single)]
    for group, about in groups().items():
        if " " not in group:
            lines += ["", f"{about}"]
            lines += [_line(" ".join(path), summary) for path, summary in entries() if path[0] == group]
    lines += ["", "pyro COMMAND --help says more of one; pyro --version which release this is."]
    return "\n".join(lines)


def group_overview(group: str) -> str:
    """Return the help of one group of commands."""
    depth = len(group.split())
    lines = [f"usage: pyro {group} COMMAND …", "", groups()[group], ""]
    lines += [_line(" ".join(path[depth:]), summary) for path, summary in entries() if begins(path, group)]
    return "\n".join(lines)


def _help(text: str, *, asked_for: bool) -> int:
    if asked_for:
        put(text)
        return OK
    say(text)
    return USAGE


def _line(name: str, summary: str) -> str:
    return f"  {name:<{_WIDTH}} {summary}"
