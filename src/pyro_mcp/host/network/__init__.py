"""The network of one VM.

Each VM has a network namespace with a packet filter. pasta connects it to the host's network, and passt connects it to
the VMM's network card. Nothing is forwarded to the guest, and nothing remains when the VMM ends.
"""

from __future__ import annotations

from pyro_mcp.host.network.egress import Egress, change_egress, egress_problems, open_egress
from pyro_mcp.host.network.filter import FilterSettings, NetworkFiles
from pyro_mcp.host.network.guest import GuestNetwork, InterfaceAddress

__all__ = [
    "Egress",
    "FilterSettings",
    "GuestNetwork",
    "InterfaceAddress",
    "NetworkFiles",
    "change_egress",
    "egress_problems",
    "open_egress",
]
