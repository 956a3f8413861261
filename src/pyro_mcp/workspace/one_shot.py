"""VMs that are not a workspace's.

Owns telling them apart for the verbs of VMs. Refuses to let one of those touch a VM that a workspace runs in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import parse_vm_id

if TYPE_CHECKING:
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.workspace.engine import Engine


def get_vm(engine: Engine, vm_id: str) -> Vm:
    """Return a VM's record.

    Raises:
        PyroError: INVALID if `vm_id` is no VM's id; NOT_FOUND; CONFLICT if it is a workspace's.
    """
    return require_one_shot(engine.store.vms.get(parse_vm_id(vm_id)))


def require_one_shot(vm: Vm) -> Vm:
    """Return the VM if no workspace runs in it.

    Raises:
        PyroError: CONFLICT.
    """
    if vm.workspace_id:
        raise PyroError(
            ErrorCode.CONFLICT,
            f"{vm.id} runs the workspace {vm.workspace_id}",
            hint="Use the workspace's own operations: `pyro workspace --help`.",
            details={"vm_id": vm.id, "workspace_id": vm.workspace_id},
        )
    return vm
