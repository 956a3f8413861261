"""Delete a VM in any state, and those whose time is up.

An interrupted deletion can be repeated, and concurrent deletions all succeed. The wait for a VM that another process is
working on is bounded.
"""

from __future__ import annotations

from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.ephemeral import delete_if_there
from pyro_mcp.workspace.vms.status import get_vm


def delete_vm(engine: Engine, vm_id: str) -> None:
    """Delete a VM. If another process deletes it at the same time, both succeed.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; TIMEOUT if a process of it survives SIGKILL.
    """
    get_vm(engine, vm_id)
    engine.use_reserve()
    engine.reconcile()
    delete_if_there(engine, vm_id)


def reap_expired(engine: Engine) -> list[str]:
    """Delete the VMs whose time is up, and return their ids.

    Raises:
        PyroError: the store can't be used.
    """
    vms, _ = engine.store.vms.all()
    expired = {vm.id for vm in vms if engine.clock.remaining_s(vm.lease) <= 0}
    return [vm_id for vm_id in engine.reconcile() if vm_id in expired]
