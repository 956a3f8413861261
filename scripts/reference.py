#!/usr/bin/env python3
"""Generate docs/reference, the tools of each profile, and examples/hosts.

Run it whenever an operation changes: a test compares what is checked in with what this would write.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pyro_mcp.cli.builtins.table import BUILTINS
from pyro_mcp.cli.commands import GROUPS
from pyro_mcp.cli.execution import shape_of
from pyro_mcp.cli.parsing import make_parser, usage_line
from pyro_mcp.cli.shape import FOLLOW, FORMAT, QUIET, STDIN, TTY
from pyro_mcp.hosts.known import CONFIGS, config_of
from pyro_mcp.mcp_server.server import listing
from pyro_mcp.mcp_server.shaping import results_in
from pyro_mcp.operations.fields import Kind, Parameter, Place, parameters
from pyro_mcp.operations.operation import Operation
from pyro_mcp.operations.profiles import DEFAULT_PROFILE, MODES, PROFILES
from pyro_mcp.operations.table import all_operations
from pyro_mcp.sdk import Pyro

if TYPE_CHECKING:
    from pyro_mcp.cli.shape import Shape
    from pyro_mcp.operations.profiles import Profile

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by scripts/reference.py from the table of operations. Do not edit. -->"
SERVER = ("pyro", "mcp", "serve")
HOST_FORMATS = {"codex": "toml", "goose": "yaml"}
Row = Operation[Any, Any]


def pages() -> dict[str, str]:
    """Return the content of each generated file by its path in the repository."""
    return {
        "docs/reference/cli.md": cli_page(),
        "docs/reference/python.md": python_page(),
        "docs/reference/mcp.md": mcp_page(),
        **{
            f"src/pyro_mcp/mcp_server/listings/{each.name}.json": listing_page(each)
            for each in (*PROFILES.values(), *MODES.values())
        },
        **{f"examples/hosts/{name}.{HOST_FORMATS.get(name, 'json')}": config_of(name, SERVER)[0] for name in CONFIGS},
        # What most other hosts take.
        "examples/hosts/generic.json": config_of("claude-desktop", SERVER)[0],
    }


def flags(shape: Shape) -> list[tuple[str, str]]:
    """Return the options that are no field of a request, and their help."""
    found = {QUIET, FORMAT, FOLLOW, STDIN, TTY}
    return [
        (", ".join(action.option_strings), action.help or "")
        for action in make_parser(shape)._actions
        if action.dest in found
    ]


def cli_page() -> str:
    """Return the reference of the command line."""
    lines = [NOTE, "# Command line", "", "Every command has `--help`; `pyro --version` prints the version."]
    shapes = [(shape_of(row), row.description) for row in all_operations() if row.cli is not None]
    shapes += [(builtin.shape, builtin.shape.description) for builtin in BUILTINS]
    for group in ["", *GROUPS]:
        for shape, description in shapes:
            if " ".join(shape.words[:-1]) == group:
                lines += ["", *command_section(shape, description)]
    return "\n".join(lines) + "\n"


def command_section(shape: Shape, description: str) -> list[str]:
    """Return the section of one command."""
    lines = [f"## pyro {shape.path}", "", "```", usage_line(shape), "```", "", description]
    known = [each for each in shape.parameters if each.place is not Place.COMMAND]
    if known or shape.takes_json:
        lines += ["", "| argument | meaning | default |", "| --- | --- | --- |"]
    for each in known:
        lines.append(f"| `{argument(each)}` | {meaning(each)} | {default(each)} |")
        if each.from_file:
            what = "One NAME=VALUE per line, from a file" if each.kind is Kind.PAIRS else "The same, read from a file"
            lines.append(f"| `{each.from_file} FILE` | {what} of this host. | |")
        if each.also:
            lines.append(f"| `{each.also}` | The same, as people write it. | |")
    if shape.only:
        lines.append(f"| `{shape.only}` | Print only that. | |")
    for option, said in flags(shape):
        lines.append(f"| `{option}` | {said[0].upper()}{said[1:]}. | |")
    if shape.takes_json:
        lines.append("| `--json` | Print one JSON document, for errors too. | |")
    return lines


def argument(parameter: Parameter) -> str:
    """Return a parameter's syntax on the command line."""
    if parameter.place is Place.POSITIONAL:
        return parameter.names
    option = f"{parameter.short}, {parameter.option}" if parameter.short else parameter.option
    if parameter.kind is Kind.CLAIM:
        return option
    return f"{option} {parameter.names or ('N' if parameter.kind.has_range else 'TEXT')}"


def meaning(parameter: Parameter) -> str:
    """Return a parameter's description and bounds."""
    if not parameter.kind.has_range:
        return parameter.description
    unit = f" {parameter.unit}" if parameter.unit else ""
    return f"{parameter.description} {parameter.minimum} to {parameter.maximum}{unit}."


def default(parameter: Parameter) -> str:
    """Return a parameter's default."""
    if parameter.required:
        return "required"
    return "" if parameter.default in {None, False} else f"`{parameter.default}`"


def python_page() -> str:
    """Return the reference of the Python interface."""
    lines = [
        NOTE,
        "# Python",
        "",
        "`from pyro_mcp import Pyro`. Every method raises `PyroError` (`code`, `message`, `hint`, `details`)",
        'on failure. Results are dictionaries whose keys are attributes too: `result["stdout"]`, `result.stdout`,',
        "`json.dumps(result)`. A command's non-zero exit is a result, not an error. A `Pyro` can be shared between",
        "threads; `Pyro.create_server(profile=…)` returns an MCP server that uses it.",
    ]
    documented: set[type] = set()
    for row in all_operations():
        method = getattr(Pyro, row.sdk)
        signature = inspect.signature(method)
        arguments = [each for name, each in signature.parameters.items() if name != "self"]
        shown = str(signature.replace(parameters=arguments)).replace("'", "")
        lines += ["", f"## Pyro.{row.sdk}", "", "```python", f"{row.sdk}{shown}", "```", "", row.description]
        if row.result.__name__ not in shown:
            documented.add(row.result)
        lines += result_tables(row.result, documented)
    return "\n".join(lines) + "\n"


def result_tables(result: type, documented: set[type]) -> list[str]:
    """Return tables of the fields of a result and its nested results, each only at its first occurrence."""
    inner = [found for hint in get_type_hints(result).values() for found in results_in(hint)]
    if result in documented and documented.issuperset(inner):
        return ["", f"Returns `{result.__name__}`: see above."]
    lines: list[str] = []
    waiting = [result, *inner]
    while waiting:
        kind = waiting.pop(0)
        if kind in documented:
            continue
        documented.add(kind)
        lines += ["", f"`{kind.__name__}`:", "", "| field | type | meaning |", "| --- | --- | --- |"]
        for field in fields(kind):
            type_name = str(field.type).replace("|", "\\|")
            lines.append(f"| `{field.name}` | `{type_name}` | {field.metadata['description']} |")
        waiting += [found for hint in get_type_hints(kind).values() for found in results_in(hint)]
    return lines


def mcp_page() -> str:
    """Return the reference of the MCP tools."""
    lines = [NOTE, "# MCP tools", "", "| profile | tools |", "| --- | --- |"]
    for profile in PROFILES.values():
        mark = " (default)" if profile.name == DEFAULT_PROFILE else ""
        lines.append(f"| `{profile.name}`{mark} | {' '.join(f'`{name}`' for name in profile.tools)} |")
    lines += ["", "| mode | for | tools |", "| --- | --- | --- |"]
    for mode in MODES.values():
        lines.append(f"| `{mode.name}` | {mode.summary} | {' '.join(f'`{name}`' for name in mode.tools)} |")
    hidden = ", ".join(f"`{name}`" for name in sorted(PROFILES[DEFAULT_PROFILE].hidden))
    lines += [
        "",
        f"`{DEFAULT_PROFILE}` and the modes hide these arguments, which keep their defaults: {hidden}.",
    ]
    for row in [row for row in all_operations() if row.mcp]:
        hints = [name.removesuffix("Hint") for name, value in row.annotations.items() if value is True]
        lines += ["", f"## {row.mcp}", "", row.description + row.tool_description]
        lines += ["", f"Annotations: {', '.join(hints) or 'none'}."]
        known = parameters(row.request, "mcp")
        if known:
            lines += ["", "| argument | meaning | default |", "| --- | --- | --- |"]
        lines += [f"| `{each.name}` | {meaning(each)} | {default(each)} |" for each in known]
    return "\n".join(lines) + "\n"


def listing_page(profile: Profile) -> str:
    """Return what a server of a profile shows its client, a tool a line: it answers with this before it is loaded.

    Annotations are those with a network: a server without one has fewer tools that reach an open world.
    """
    shown = listing(replace(profile, network_policy=None))
    tools = ",\n".join(json.dumps(tool, ensure_ascii=False) for tool in shown["tools"])
    return f'{{"tools": [\n{tools}\n]}}\n'


def main() -> int:
    """Write every page and report which changed."""
    for name, text in pages().items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
