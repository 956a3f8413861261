"""Names of files inside a tree, as the rest of the product uses them.

Owns nothing: they are checked and shown by the same rules on both sides of the wire (`protocol.names`). Refuses to have
rules of its own.
"""

from __future__ import annotations

from pyro_mcp.protocol.names import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    MAX_TARGET_BYTES,
    NameRefusedError,
    clean_name,
    join,
    parent_of,
    shown,
    shown_briefly,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_NAME_BYTES",
    "MAX_PATH_BYTES",
    "MAX_TARGET_BYTES",
    "NameRefusedError",
    "clean_name",
    "join",
    "parent_of",
    "shown",
    "shown_briefly",
]
