"""The former address of `lifecycle.expire`, which watchers started by an earlier version import by name."""

from __future__ import annotations

from pyro_mcp.workspace.lifecycle.expire import main

__all__ = ["main"]
