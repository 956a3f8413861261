"""The class `Pyro` under the name of its module before version 5."""

from __future__ import annotations

from pyro_mcp.sdk.pyro import Pyro

__all__ = ["Pyro"]
