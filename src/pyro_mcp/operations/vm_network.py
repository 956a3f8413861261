"""From what a guest was told of its network to what users are shown.

Owns that translation. Refuses to guess an address that is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pyro_mcp.operations.vm_values import InterfaceAddressResult, VmNetworkInfoResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.workspace.vm_network_info import NetworkInfo


def network_result(found: NetworkInfo) -> VmNetworkInfoResult:
    """Return a VM's network as users are shown it."""
    told = found.network or {}
    mtu = told.get("mtu")
    return VmNetworkInfoResult(
        vm_id=found.vm_id,
        network_policy=found.network_policy.value,
        has_network=found.network is not None,
        ipv4=_address(told.get("ipv4")),
        ipv6=_address(told.get("ipv6")),
        dns=tuple(str(each) for each in cast("list[object]", told.get("dns") or [])),
        mtu=mtu if isinstance(mtu, int) else None,
    )


def _address(told: object) -> InterfaceAddressResult | None:
    if not isinstance(told, dict):
        return None
    address = cast("Mapping[str, object]", told)
    return InterfaceAddressResult(
        str(address["address"]), cast("int", address["prefix_length"]), str(address["gateway"])
    )
