"""A guest's way out: the `egress` network of one VM.

Owns what a guest may reach and how it gets there: a network namespace per VM whose upstream is pasta, a packet filter
in it, and passt between that namespace and the VMM's network card. Refuses to know which VMM it is, to leave anything
behind when that VMM ends, and to forward anything towards the guest.
"""

from __future__ import annotations

from pyro_mcp.host.network.egress import Egress, egress_problems, open_egress
from pyro_mcp.host.network.guest import GuestNetwork, InterfaceAddress

__all__ = ["Egress", "GuestNetwork", "InterfaceAddress", "egress_problems", "open_egress"]
