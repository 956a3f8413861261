"""What a shell may offer for the word that is being typed.

A shell asks at every Tab: this loads the command's own row and the database, and never the guest's side or pydantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from pyro_mcp.cli.commands import BUILTINS, GROUPS, SUMMARIES, expanded, short_names
from pyro_mcp.cli.streams import put
from pyro_mcp.errors import PyroError
from pyro_mcp.operations.table import begins, find_command

if TYPE_CHECKING:
    import argparse

    from pyro_mcp.cli.shape import Shape
    from pyro_mcp.operations.fields import Parameter
    from pyro_mcp.workspace.engine import Engine

#: Stands for the files of this host, which the shell offers itself.
FILES = ":files"
# What may be offered, and a word about it.
Offer = tuple[str, str]


def complete(shell: str, line: str) -> int:
    """Print what may follow a command line, one a line, as the shell's script reads it; return the exit status."""
    before, current = _words(line)
    offers = [(word, about) for word, about in offers_for(before, current) if word == FILES or word.startswith(current)]
    put("\n".join(dict.fromkeys(_shown(shell, current, each) for each in offers)))
    return 0


def _words(line: str) -> tuple[list[str], str]:
    """Split a line at its blanks into the words after `pyro`, and the one that is being typed."""
    words = line.split()
    current = "" if not words or line[-1:].isspace() else words.pop()
    return words[1:], current.lstrip("'\"")


def _shown(shell: str, current: str, offer: Offer) -> str:
    word, about = offer
    if word == FILES:
        return word
    match shell:
        case "bash":
            # To bash, a colon ends a word: what stands before it is there already.
            return word[current.rfind(":") + 1 :] if ":" in current else word
        case "zsh":
            return word.replace(":", r"\:") + (f":{about}" if about else "")
        case _:
            return f"{word}\t{about}" if about else word


def offers_for(before: list[str], current: str) -> Iterator[Offer]:
    """Yield what may follow these words."""
    words = expanded(list(before))
    if any(begins(words, each) for each in BUILTINS):
        from pyro_mcp.cli.builtins.table import BUILTINS as ALL

        shape = next(each.shape for each in ALL if begins(words, each.shape.path))
        yield from _of_command(shape, words[len(shape.words) :], current)
        return
    operation = find_command(words)
    if operation is not None:
        from pyro_mcp.cli.execution import shape_of

        yield from _of_command(shape_of(operation), words[len(operation.cli or ()) :], current)
    if operation is None or " ".join(words) in GROUPS:
        inside = " ".join([*words, ""])
        for name, about in [*SUMMARIES.items(), *GROUPS.items(), *short_names().items()]:
            rest = name.removeprefix(inside) if name.startswith(inside) else ""
            if rest and " " not in rest:
                yield rest, about


def _of_command(shape: Shape, words: list[str], current: str) -> Iterator[Offer]:
    from pyro_mcp.cli.parsing import make_parser
    from pyro_mcp.operations.fields import Place, parameters

    if "--" in words:
        yield FILES, ""
        return
    known = {each.name: each for each in parameters(shape.request, "cli")}
    options = {option: action for action in make_parser(shape)._actions for option in action.option_strings}
    given: list[str] = []
    wanted: argparse.Action | None = None
    for word in words:
        if wanted is not None:
            wanted = None
        elif word.startswith("-"):
            action = options.get(word)
            wanted = action if action is not None and action.nargs != 0 else None
        else:
            given.append(word)
    if wanted is not None:
        yield from _values(known.get(wanted.dest), given, is_file=wanted.metavar in {"FILE", "NAME=FILE"})
        return
    if current.startswith("-"):
        yield from ((option, action.help or "") for option, action in options.items() if option.startswith("--"))
        return
    positional = [each for each in known.values() if each.place is Place.POSITIONAL]
    at = min(len(given), len(positional) - 1) if shape.takes_many else len(given)
    if at < len(positional):
        yield from _values(positional[at], given)


def _values(parameter: Parameter | None, given: list[str], *, is_file: bool = False) -> Iterator[Offer]:
    """Yield what may stand for a parameter, with what was given before it."""
    from pyro_mcp.operations.fields import Place

    asks = FILES if is_file else parameter.completes if parameter is not None else ""
    match asks:
        case ":files" | "host path":
            yield FILES, ""
        case "copy path":
            yield from ((f"{name}:", about) for name, about in _stored("workspace", given))
            yield FILES, ""
        case "environment":
            from pyro_mcp.image.catalog import load_catalog

            yield from ((each.name, "") for each in load_catalog().environments)
        case "profile" | "mode":
            from pyro_mcp.operations.profiles import MODES, PROFILES

            yield from ((name, "") for name in (PROFILES if asks == "profile" else MODES))
        case "network policy":
            from pyro_mcp.model.kinds import NetworkPolicy

            yield from ((policy.value, "") for policy in NetworkPolicy)
        case "network of all":
            yield from ((name, "") for name in ("off", "packages", "allow", "egress"))
        case "shell":
            yield from ((name, "") for name in ("bash", "fish", "zsh"))
        case "":
            return
        case _:
            if asks == "snapshot" and parameter is not None and parameter.place is Place.OPTION:
                # It can be reset to, but not deleted.
                yield "baseline", ""
            yield from _stored(asks, given)


def _stored(asks: str, given: list[str]) -> Iterable[Offer]:
    """Return the names of what is stored, or what a guest has: none if that can't be told."""
    from pyro_mcp.operations.operation import engine
    from pyro_mcp.operations.runner import Runner

    with suppress(PyroError, OSError), engine(Runner().call()) as using:
        return list(_names(using, asks, given[0] if given else ""))
    return ()


def _names(using: Engine, asks: str, handle: str) -> Iterator[Offer]:
    match asks:
        case "workspace":
            for each in using.store.workspaces.all()[0]:
                about = f"{each.state.value}, {each.environment}"
                yield from ((word, about) for word in (each.name, each.id) if word)
        case "vm":
            yield from ((each.id, each.state.value) for each in using.store.vms.all()[0] if not each.workspace_id)
        case "snapshot":
            workspace = using.store.workspaces.lookup(handle)
            yield from ((each.name, "") for each in using.store.workspaces.snapshots(workspace.id))
        case "service":
            from pyro_mcp.state.filenames import VmFiles
            from pyro_mcp.state.service_records import ServiceRecords

            workspace = using.store.workspaces.lookup(handle)
            records = ServiceRecords(VmFiles(using.paths, workspace.vm_id)) if workspace.vm_id else None
            yield from ((each.name, each.state.value) for each in (records.all() if records else ()))
        case "guest shell":
            from pyro_mcp.workspace.shells.shell import list_shells

            _, shells = list_shells(using, handle)
            yield from ((each.info.shell, each.info.state.value) for each in shells)
        case _:
            return
