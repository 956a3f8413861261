"""Cache files: JSON objects that can be recomputed if they are lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from pyro_mcp.errors import PyroError
from pyro_mcp.host.durable import atomic_write


def read_cache(path: Path) -> dict[str, object]:
    """Return the cached object, or an empty one if the file can't be read."""
    try:
        with open(path, "rb") as file:
            document: object = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", document) if isinstance(document, dict) else {}


def write_cache(path: Path, document: Mapping[str, object]) -> None:
    """Write the object. Failures, for example on a full disk, are ignored: they only make the next start slower."""
    with suppress(PyroError):
        atomic_write(path, json.dumps(document).encode())
