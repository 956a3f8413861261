"""Check a request against the types, bounds and patterns that its fields declare.

Only the request itself is checked: its handler checks whether an environment or a VM exists.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.fields import Kind, Parameter, parameters

# execve(2): one argument is limited to 32 pages, regardless of the limit on the total.
MAX_ARGUMENT_BYTES = 131072 - 1
MAX_COMMAND_BYTES = 2 * 1024 * 1024
_SHOWN_CHARS = 60
_TOO_LONG = (
    f"One argument may have {MAX_ARGUMENT_BYTES} bytes, all of them {MAX_COMMAND_BYTES}: pass longer data on stdin."
)


def check_request(request: object, *, label: Callable[[Parameter], str] | None = None) -> None:
    """Check every field of a request against what the field declares.

    `label` gives the name by which the caller knows a parameter (an option of the command line).

    Raises:
        PyroError: INVALID, with the parameter, its value and what is allowed.
    """
    for parameter in parameters(type(request)):
        value = getattr(request, parameter.name)
        wrong = _breach(parameter, value)
        if wrong is not None:
            problem, hint = wrong
            name = label(parameter) if label else parameter.name
            raise PyroError(ErrorCode.INVALID, f"{name} {problem}", hint=hint, details={"parameter": parameter.name})


def shown(value: object) -> str:
    """Return a value for a message: quoted, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    """Return what is wrong with the value and what to do about it, or None."""
    if value is None and parameter.kind.is_optional:
        return None
    match parameter.kind:
        case Kind.WHOLE | Kind.OPTIONAL_WHOLE:
            return _whole_breach(parameter, value)
        case Kind.NUMBER:
            return _number_breach(parameter, value)
        case Kind.CLAIM:
            return None if isinstance(value, bool) else (f"is {shown(value)}", "Give true or false.")
        case Kind.COMMAND:
            return _command_breach(value)
        case Kind.TEXT | Kind.OPTIONAL_TEXT:
            return _text_breach(parameter, value)
        case Kind.TEXTS:
            return _texts_breach(parameter, value)
        case Kind.PAIRS:
            return None if _is_pairs(value) else (f"is {shown(value)}", "Give an object of strings: {name: text, …}.")
        case Kind.CHECK:
            return None if _is_pairs(value, str, int) else (f"is {shown(value)}", "Give an object with a type.")
        case Kind.PORTS:
            return _ports_breach(parameter, value)
        case Kind.RECORDS:
            records = cast("tuple[object, ...] | None", value if isinstance(value, tuple) else None)
            whole = records is not None and all(map(_is_pairs, records))
            # They may hold secrets, so no detail is shown.
            return None if whole else ("is malformed", "Give a list of objects with string values.")


def _whole_breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    low, high = parameter.minimum, parameter.maximum
    # True is an int to Python, but it does not mean one virtual CPU.
    if type(value) is int and (low is None or value >= low) and (high is None or value <= high):
        return None
    unit = f" ({parameter.unit})" if parameter.unit else ""
    return f"is {shown(value)}", f"Give a whole number from {low} to {high}{unit}."


def _number_breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    low, high = parameter.minimum or 0, parameter.maximum or 0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"is {shown(value)}", f"Give a number from {low} to {high} ({parameter.unit}), or none for no limit."


def _text_breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    form = f"Give {parameter.form}." if parameter.form else "Give a string."
    if not isinstance(value, str):
        return f"is {shown(value)}", form
    if parameter.max_length is not None and len(value) > parameter.max_length:
        return f"has {len(value)} characters", f"Give at most {parameter.max_length}."
    if parameter.pattern is not None:
        import re

        if not re.fullmatch(parameter.pattern, value):
            return f"is {shown(value)}", form
    return None


def _texts_breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    if not isinstance(value, tuple):
        return f"is {shown(value)}", "Give a list of strings."
    for each in cast("tuple[object, ...]", value):
        if breach := _text_breach(parameter, each):
            return f"has an item that {breach[0]}", breach[1]
    return None


def _ports_breach(parameter: Parameter, value: object) -> tuple[str, str] | None:
    breach = f"is {shown(value)}", f"Give {parameter.form}."
    if not isinstance(value, tuple):
        return breach
    return None if all(_is_pairs(each, int, NoneType) for each in cast("tuple[object, ...]", value)) else breach


def _is_pairs(value: object, *kinds: type) -> bool:
    if not isinstance(value, dict):
        return False
    pairs = cast("dict[object, object]", value)
    return all(isinstance(key, str) and isinstance(each, kinds or str) for key, each in pairs.items())


def _command_breach(value: object) -> tuple[str, str] | None:
    hint = "Give a shell command line, or a program and its arguments."
    if isinstance(value, str):
        parts: tuple[object, ...] = (value,)
        if not value.strip():
            return "is empty", hint
    elif isinstance(value, tuple):
        parts = cast("tuple[object, ...]", value)
        if not parts or parts[0] == "":
            return "names no program", hint
    else:
        return f"is {shown(value)}", hint
    total = 0
    for part in parts:
        if not isinstance(part, str):
            return f"holds {shown(part)}, which is not a string", hint
        if "\0" in part:
            return "holds a NUL character", "Arguments can't contain one: pass such data on stdin."
        length = len(part.encode("utf-8", "surrogateescape"))
        total += length
        if length > MAX_ARGUMENT_BYTES or total > MAX_COMMAND_BYTES:
            return "is too long", _TOO_LONG
    return None
