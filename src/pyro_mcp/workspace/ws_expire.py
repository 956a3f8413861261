"""The former address of `lifecycle.expire`, for watchers that an earlier version started: they import it by name."""

from __future__ import annotations

from pyro_mcp.workspace.lifecycle.expire import main

__all__ = ["main"]
