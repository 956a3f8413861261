"""The records of one-shot VMs: status, list and network.

The verbs of VMs reject a VM that belongs to a workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import parse_vm_id
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.vm import Vm
from pyro_mcp.workspace.engine import Engine


def get_vm(engine: Engine, vm_id: str) -> Vm:
    """Return a VM's record.

    Raises:
        PyroError: INVALID if `vm_id` is not a VM id; NOT_FOUND; CONFLICT if the VM belongs to a workspace.
    """
    return require_one_shot(engine.store.vms.get(parse_vm_id(vm_id)))


def require_one_shot(vm: Vm) -> Vm:
    """Return the VM if it does not belong to a workspace.

    Raises:
        PyroError: CONFLICT.
    """
    if vm.workspace_id:
        raise PyroError(
            ErrorCode.CONFLICT,
            f"{vm.id} runs the workspace {vm.workspace_id}",
            hint="Use the workspace's own operations; `pyro workspace list` lists the workspaces.",
            details={"vm_id": vm.id, "workspace_id": vm.workspace_id},
        )
    return vm


def status_vm(engine: Engine, vm_id: str) -> Vm:
    """Return a VM's current state.

    Raises:
        PyroError: NOT_FOUND, also for a VM whose time is up.
    """
    engine.use_reserve()
    engine.reconcile()
    return get_vm(engine, vm_id)


def list_vms(engine: Engine) -> list[Vm]:
    """Return all VMs, oldest first, including those of runs in progress but not those of workspaces.

    Raises:
        PyroError: the store can't be used.
    """
    engine.use_reserve()
    engine.reconcile()
    vms, _ = engine.store.vms.all()
    return [vm for vm in vms if not vm.workspace_id]


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """A VM's network. `network` is the guest's configuration (see `GuestNetwork.to_json`), or None."""

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
