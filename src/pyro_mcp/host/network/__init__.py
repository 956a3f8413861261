"""The `egress` network of one VM.

Each VM has a network namespace whose upstream is pasta, a packet filter in it, and passt between that namespace and the
VMM's network card. Nothing is forwarded towards the guest, and nothing is left when the VMM ends.
"""

from __future__ import annotations

from pyro_mcp.host.network.egress import Egress, egress_problems, open_egress
from pyro_mcp.host.network.guest import GuestNetwork, InterfaceAddress

__all__ = ["Egress", "GuestNetwork", "InterfaceAddress", "egress_problems", "open_egress"]
