"""The Python interface: the class `Pyro`.

Owns the methods that users type, held to the table of operations by a parity test. Refuses to do anything that is not a
row of that table.
"""

from __future__ import annotations

from pyro_mcp.sdk.pyro import Pyro

__all__ = ["Pyro"]
