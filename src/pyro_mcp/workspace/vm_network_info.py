"""What a VM may reach, and its addresses.

Owns the answer. Refuses to look into the guest: it is what the host gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.workspace.vm_status import status_vm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.model.kinds import NetworkPolicy
    from pyro_mcp.workspace.engine import Engine


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """A VM's network. `network` is what the guest was told (see `GuestNetwork.to_json`), None while it has none."""

    vm_id: str
    network_policy: NetworkPolicy
    network: Mapping[str, object] | None


def network_info_vm(engine: Engine, vm_id: str) -> NetworkInfo:
    """Return a VM's network.

    Raises:
        PyroError: NOT_FOUND.
    """
    vm = status_vm(engine, vm_id)
    return NetworkInfo(vm.id, vm.network_policy, vm.network)
