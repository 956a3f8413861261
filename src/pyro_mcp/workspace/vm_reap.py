"""Clearing away VMs whose time is up.

Owns saying which they were. Refuses to be necessary: they end by themselves, and every operation clears them away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.workspace.engine import Engine


def reap_expired(engine: Engine) -> list[str]:
    """Clear away the VMs whose time is up, and return their ids.

    Raises:
        PyroError: the store can't be used.
    """
    vms, _ = engine.store.vms.all()
    expired = {vm.id for vm in vms if engine.clock.remaining_s(vm.lease) <= 0}
    return [vm_id for vm_id in engine.reconcile() if vm_id in expired]
