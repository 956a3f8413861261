"""Looking at VMs.

Owns the answers to status and list, after the store was made to agree with reality. Refuses to change anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.one_shot import get_vm

if TYPE_CHECKING:
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.workspace.engine import Engine


def status_vm(engine: Engine, vm_id: str) -> Vm:
    """Return a VM as it is now.

    Raises:
        PyroError: NOT_FOUND, which a VM whose time was up is too.
    """
    engine.reconcile()
    return get_vm(engine, vm_id)


def list_vms(engine: Engine) -> list[Vm]:
    """Return all VMs, oldest first. Those of runs that are under way are among them, those of workspaces are not.

    Raises:
        PyroError: the store can't be used.
    """
    engine.reconcile()
    vms, _ = engine.store.vms.all()
    return [vm for vm in vms if not vm.workspace_id]
