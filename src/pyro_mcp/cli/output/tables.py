"""A result's values as text for a person: fields, tables, and sizes in words."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

from pyro_mcp.cli.streams import STDOUT, styled
from pyro_mcp.operations.printable import printable_line

_GAP = "  "
# The number of columns that are never omitted, and the minimum width of a column.
_ALWAYS, _LEAST = 2, 8
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_GOOD, _BAD, _ODD = "32", "31", "33"
_COLOURS = {"installed": _GOOD, "started": _GOOD, "broken": _BAD, "failed": _BAD, "outdated": _ODD}


def facts(document: dict[str, object], indent: str = "") -> str:
    """Return an object's fields, one to a line, without empty ones and long lists."""
    lines: list[str] = []
    for key, value in document.items():
        if value is None or value in ("", [], {}):
            continue
        name = key.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", facts(cast("dict[str, object]", value), indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}: {', '.join(_text(each) for each in cast('list[object]', value))}")
        else:
            lines.append(f"{indent}{name}: {size(value) if key.endswith('_bytes') else _text(value)}")
    return "\n".join(line for line in lines if line)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their heads, columns aligned. On a narrow terminal the last columns are omitted or cut.

    The first two are always shown in full.
    """
    cells = [[_text(value) for value in row] for row in rows]
    lines = [list(heads), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    room = _room(widths)
    plain = [
        _GAP.join(f"{_cut(cell, width):<{width}}" for cell, width in zip(line, room, strict=False)).rstrip()
        for line in lines
    ]
    return "\n".join(
        [styled(plain[0], "1", STDOUT), *(_coloured(line, row) for line, row in zip(plain[1:], cells, strict=True))]
    )


def _room(widths: list[int]) -> list[int]:
    """Return the widths of the columns that fit."""
    left = os.get_terminal_size(STDOUT).columns if os.isatty(STDOUT) else sum(widths) + len(_GAP) * len(widths)
    room: list[int] = []
    for number, width in enumerate(widths):
        if number >= _ALWAYS and left < width:
            return [*room, left] if left >= _LEAST else room
        room.append(width)
        left -= width + len(_GAP)
    return room


def fitted(before: str, text: str, after: str) -> str:
    """Return the three as one line; on a narrow terminal the text in the middle is cut."""
    columns = os.get_terminal_size(STDOUT).columns if os.isatty(STDOUT) else 0
    room = columns - len(before) - len(after)
    return f"{before}{_cut(text, room) if columns and room > 0 else text}{after}"


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def age(utc: str) -> str:
    """Return how long ago a time was (as results show it) in its largest unit, such as 5m."""
    from pyro_mcp.cli.units import brief_age

    return brief_age(time.time() - datetime.fromisoformat(utc).timestamp())


def size(value: object) -> str:
    """Return a number of bytes in words."""
    number = float(cast("int", value))
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def _coloured(line: str, row: Sequence[str]) -> str:
    for cell in row:
        if cell in _COLOURS:
            return line.replace(cell, styled(cell, _COLOURS[cell], STDOUT), 1)
    return line


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable_line(str(value))
