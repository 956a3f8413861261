"""The Python interface: the class `Pyro`. A parity test compares its methods with the table of operations."""

from __future__ import annotations

from pyro_mcp.sdk.pyro import Pyro

__all__ = ["Pyro"]
