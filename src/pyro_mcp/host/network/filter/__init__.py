"""The filter by host name of one VM's network.

HAProxy and dnsmasq run in the VM's network namespace, between passt and pasta. The packet filter hands them every TCP
connection and every DNS query of the guest, and rejects the rest. The guest and the VMM can't reach around them.
"""

from __future__ import annotations

from pyro_mcp.host.network.filter.control import NetworkFiles
from pyro_mcp.host.network.filter.settings import FilterSettings

__all__ = ["FilterSettings", "NetworkFiles"]
