"""The demo: a one-shot life, each step an operation of the table.

Owns the order of the steps and the command that is shown. Refuses to leave a VM behind, whichever step fails.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations import vms
from pyro_mcp.operations.diagnosis import DemoResult
from pyro_mcp.operations.named import DEFAULT_ENVIRONMENT
from pyro_mcp.operations.vm_values import VmCreateRequest, VmDeleteResult, VmExecRequest, VmRequest

if TYPE_CHECKING:
    from pyro_mcp.operations.diagnosis import DemoRequest
    from pyro_mcp.operations.operation import Call

_COMMAND = "uname -srm; git --version; python3 -c 'print(6 * 7)'"
_TIMEOUT_S = 60


def demonstrate(request: DemoRequest, call: Call) -> DemoResult:
    """Live a one-shot life and return what each step answered.

    Raises:
        PyroError: the step that failed; the VM is gone then, too.
    """
    with ExitStack() as stack:
        created = vms.VM_CREATE.handler(VmCreateRequest(environment=DEFAULT_ENVIRONMENT, network=request.network), call)
        vm = VmRequest(vm_id=created.vm_id)
        stack.callback(_delete_if_there, vm, call)
        started = vms.VM_START.handler(vm, call)
        network = vms.VM_NETWORK_INFO.handler(vm, call)
        command = VmExecRequest(vm_id=created.vm_id, command=_COMMAND, timeout_seconds=_TIMEOUT_S)
        execution = vms.VM_EXEC.handler(command, call)
        deleted = VmDeleteResult(vm_id=created.vm_id, deleted=_is_gone(vm, call))
    return DemoResult(DEFAULT_ENVIRONMENT, created, started, network, execution, deleted)


def _delete_if_there(vm: VmRequest, call: Call) -> None:
    with suppress(PyroError):
        vms.VM_DELETE.handler(vm, call)


def _is_gone(vm: VmRequest, call: Call) -> bool:
    try:
        vms.VM_STATUS.handler(vm, call)
    except PyroError as error:
        if error.code is ErrorCode.NOT_FOUND:
            return True
        raise
    return False
