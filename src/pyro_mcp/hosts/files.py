"""Read and replace a host's configuration file: links and modes kept, a broken file never touched."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import atomic_write
from pyro_mcp.hosts import jsonc

MAX_BYTES = 16 * 1024 * 1024
_NEW_MODE = 0o600


def read_text(path: Path) -> str:
    """Return a configuration's text; "" if there is none.

    Raises:
        PyroError: INVALID if it is no UTF-8 or too large; PERMISSION and others.
    """
    with os_errors(f"read {path}"):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return ""
    if len(data) > MAX_BYTES:
        raise _broken(path, f"it is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _broken(path, f"byte {error.start} is not UTF-8") from error


def edit(path: Path, change: Callable[[str], str]) -> bool:
    """Replace a file's text by what `change` makes of it, at once; say whether that differs.

    Raises:
        PyroError: INVALID, with the file's name, if the text can't be parsed; PERMISSION and others.
    """
    before = read_text(path)
    try:
        after = change(before)
    except PyroError as error:
        raise _broken(path, error.message) from error
    if after == before:
        return False
    with os_errors(f"write {path}"):
        # A link stays, and what it leads to is replaced.
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else _NEW_MODE
        atomic_write(target, after.encode(), mode)
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file with comments; empty if there is no file.

    Raises:
        PyroError: INVALID, with line and column.
    """
    text = read_text(path)
    if not text.strip():
        return {}
    try:
        value = jsonc.parse(text).value
    except PyroError as error:
        raise _broken(path, error.message) from error
    if not isinstance(value, dict):
        raise _broken(path, "it is not an object")
    return cast("dict[str, Any]", value)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; empty if there is no file.

    Raises:
        PyroError: INVALID, with line and column.
    """
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise _broken(path, str(error)) from error


def at_path(document: dict[str, Any], path: Sequence[str]) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the value at a path of keys, or None."""
    value: Any = document
    for name in path:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(name)
    return value


def table_at(document: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    """Return the object at a path of keys, or None."""
    value = at_path(document, path)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def texts(value: object) -> tuple[str, ...]:
    """Return a list's items as text; nothing if it is no list."""
    return tuple(map(str, cast("list[object]", value))) if isinstance(value, list) else ()


def variables_of(value: object) -> dict[str, str]:
    """Return an object's members as variables; nothing if it is no object."""
    held = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return {name: str(each) for name, each in held.items()}


def _broken(path: Path, why: str) -> PyroError:
    return PyroError(
        ErrorCode.INVALID,
        f"{path} can't be changed: {why}",
        hint="Nothing was written. Correct the file, then run the command again.",
        details={"path": str(path)},
    )
