"""VM records for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.clock import system_clock

if TYPE_CHECKING:
    from typing import Any


def a_vm(*, ttl_s: int = 600, **changes: Any) -> Vm:
    """Return the record of a VM that was just created, with some fields changed."""
    vm = Vm(
        id=new_vm_id(),
        environment="debian:12",
        base=None,
        shape=Shape(),
        network_policy=NetworkPolicy.OFF,
        allow_host_compat=False,
        require_kvm=False,
        ephemeral=False,
        lease=system_clock().lease(ttl_s),
        state=VmState.CREATED,
    )
    return replace(vm, **changes)
