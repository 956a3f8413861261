"""Set and remove one table of a TOML document, every other byte kept."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pyro_mcp.errors import ErrorCode, PyroError


def set_table(text: str, path: Sequence[str], values: Mapping[str, object]) -> str:
    """Return the text with the keys of the table at `path` set; its other keys and comments stay.

    Raises:
        PyroError: INVALID if the text is no TOML, or something on the way is no table.
    """
    before = _parsed(text)
    now: Any = before
    for name in path:
        now = cast("dict[str, Any]", now).get(name, {}) if isinstance(now, dict) else None
    if not isinstance(now, dict):
        raise PyroError(ErrorCode.INVALID, f"{'.'.join(path)} is not a table")
    held = cast("dict[str, Any]", now)
    if all(held.get(name) == value for name, value in values.items()):
        return text
    if not held and not _is_inline(text, path):
        lines = [f"[{'.'.join(path)}]", *(f"{name} = {_written(value)}" for name, value in values.items())]
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{chr(10).join(lines)}\n"
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for name in path:
        table = table.setdefault(name, tomlkit.inline_table())
    for name, value in values.items():
        if held.get(name) != value:
            table[name] = value
    return tomlkit.dumps(document)


def remove_table(text: str, path: Sequence[str]) -> str:
    """Return the text without the table at `path`, its subtables, and the empty line that `set_table` put before it.

    Raises:
        PyroError: INVALID if the text is no TOML.
    """
    found: Any = _parsed(text)
    for name in path:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    if found is None:
        return text
    name = r"\s*\.\s*".join(rf"(?:{re.escape(part)}|\"{re.escape(part)}\"|'{re.escape(part)}')" for part in path)
    ours = re.compile(rf"^[ \t]*\[\s*{name}\s*(?:\..*)?\][^\n]*$")
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = bool(ours.match(line.rstrip("\n")))
            if inside and kept and not kept[-1].strip():
                kept.pop()
        if not inside:
            kept.append(line)
    after = "".join(kept)
    if _filled(_parsed(text), tuple(path)) == _filled(_parsed_or_empty(after)):
        return after
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for part in path[:-1]:
        table = table[part]
    del table[path[-1]]
    return tomlkit.dumps(document)


def _is_inline(text: str, path: Sequence[str]) -> bool:
    """Say whether the table's parent is written in a line, so that no header can add to it."""
    return bool(re.search(rf"^[ \t]*{re.escape(path[0])}[ \t]*[.=]", text, re.MULTILINE))


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PyroError(ErrorCode.INVALID, str(error)) from error


def _parsed_or_empty(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _filled(document: dict[str, Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document without the value at a path, and without tables that are empty, at any depth."""
    filled: dict[str, Any] = {}
    for name, held in document.items():
        is_on_the_way = bool(without) and without[0] == name
        value = held
        if isinstance(held, dict):
            value = _filled(cast("dict[str, Any]", held), without[1:] if is_on_the_way else ())
        if value != {} and not (is_on_the_way and len(without) == 1):
            filled[name] = value
    return filled


def _written(value: object) -> str:
    # TOML's basic strings, arrays, numbers and booleans are JSON's, DEL apart.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
