"""Files that keep what was found out, so that nobody has to find it out again: JSON objects that may be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from pyro_mcp.errors import PyroError
from pyro_mcp.host.durable import atomic_write


def read_cache(path: Path) -> dict[str, object]:
    """Return what was kept; a file that can't be read only costs finding it out again."""
    try:
        with open(path, "rb") as file:
            document: object = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", document) if isinstance(document, dict) else {}


def write_cache(path: Path, document: Mapping[str, object]) -> None:
    """Write a file. On a full or read-only disk there is none, which makes the next start slower, not wrong."""
    with suppress(PyroError):
        atomic_write(path, json.dumps(document).encode())
