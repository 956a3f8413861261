"""Hints in the words of the surface that shows them.

Errors are worded for the command line, with every command and option in backticks: `pyro workspace list`,
`--ttl-seconds`. A chat host is shown the names of tools and arguments instead, a Python program those of methods and
parameters. Commands without an equivalent on a surface remain commands: a person can run them.
"""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from typing import Any, NamedTuple

from pyro_mcp.operations.fields import Kind, Parameter, Place, parameters
from pyro_mcp.operations.operation import Operation
from pyro_mcp.operations.table import all_operations, find_command

_QUOTED = re.compile(r"`(pyro [a-z][^`\n]*|--[a-z][^`\n]*)`")
# A placeholder for a value in a hint, such as ID.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*")


class Surface(StrEnum):
    """A surface without commands."""

    MCP = "mcp"
    SDK = "sdk"


class _Argument(NamedTuple):
    """An argument of an operation in a hint."""

    parameter: Parameter
    value: str | list[str] | None


def adapted(text: str, surface: Surface) -> str:
    """Return a message or hint with commands and options replaced by their names on `surface`."""
    return _QUOTED.sub(lambda found: _named(found[1], surface), text) if "`" in text else text


def _named(quoted: str, surface: Surface) -> str:
    """Return the replacement of a command or option in backticks."""
    try:
        words = shlex.split(quoted)
    except ValueError:
        return f"`{quoted}`"
    if words[0] != "pyro":
        known = [each for row in all_operations() for each in parameters(row.request)]
        found = _arguments(words, known)
        shown = [_argument(each, surface) for each in found or []]
        return ", ".join(f"`{each}`" for each in shown) if shown and all(shown) else f"`{quoted}`"
    operation = find_command(words[1:])
    if operation is None or (surface is Surface.MCP and operation.mcp is None):
        return f"`{quoted}`"
    arguments = _arguments(words[1 + len(operation.cli or ()) :], list(parameters(operation.request))) or []
    # Placeholders are only useful with the name of an option.
    arguments = [each for each in arguments if each.parameter.place is Place.OPTION or not _is_placeholder(each.value)]
    if surface is Surface.SDK:
        return f"`{_method(operation, arguments)}`"
    shown = [_argument(each, surface) for each in arguments]
    return f"`{operation.mcp}`" + (f" with `{', '.join(filter(None, shown))}`" if any(shown) else "")


def _method(operation: Operation[Any, Any], arguments: list[_Argument]) -> str:
    needed = [each.name for each in parameters(operation.request) if each.required]
    if not arguments and needed:
        return operation.sdk
    given = [
        repr(each.value) if each.parameter.place is Place.POSITIONAL else _argument(each, Surface.SDK)
        for each in arguments
    ]
    return f"{operation.sdk}({', '.join(given)})"


def _argument(argument: _Argument, surface: Surface) -> str:
    """Return an argument in the surface's syntax, "" if the surface does not have it."""
    parameter, value = argument
    if surface.value not in parameter.on:
        kind = parameter.name.removeprefix("ready_")
        return f"readiness={{'type': {kind!r}, …}}" if kind != parameter.name else ""
    if parameter.kind is Kind.CLAIM:
        return f"{parameter.name}={'True' if surface is Surface.SDK else 'true'}"
    if value is None or _is_placeholder(value):
        return parameter.name
    quoted = (
        repr(value) if isinstance(value, list) or (surface is Surface.SDK and not parameter.kind.has_range) else value
    )
    return f"{parameter.name}={quoted}"


def _is_placeholder(value: str | list[str] | None) -> bool:
    texts = value if isinstance(value, list) else [value or ""]
    return all(map(_PLACEHOLDER.fullmatch, texts))


def _arguments(words: list[str], known: list[Parameter]) -> list[_Argument] | None:
    """Return the arguments of a command line, or None if one is unknown."""
    positional = iter([each for each in known if each.place is Place.POSITIONAL])
    found: list[_Argument] = []
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        if not word.startswith("-"):
            parameter = next(positional, None)
            value: str | None = word
        else:
            option, sign, after = word.partition("=")
            parameter = _option(option, known)
            takes_value = parameter is not None and parameter.kind is not Kind.CLAIM
            value = after if sign else rest.pop(0) if takes_value and rest else None
        if parameter is None:
            return None
        if parameter.kind is not Kind.TEXTS or value is None:
            found.append(_Argument(parameter, value))
            continue
        values = [value]
        while parameter.place is Place.POSITIONAL and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        earlier = next((each for each in found if each.parameter is parameter), None)
        if earlier is None:
            found.append(_Argument(parameter, values))
        elif isinstance(earlier.value, list):
            earlier.value.extend(values)
    return found


def _option(option: str, known: list[Parameter]) -> Parameter | None:
    """Return the parameter of an option."""
    for each in known:
        if each.place is Place.OPTION and option in {each.option, each.short, each.also, each.from_file}:
            return each
    return None
