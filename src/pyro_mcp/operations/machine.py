"""This machine: doctor, prepare, demo."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations import vms
from pyro_mcp.operations.diagnosis import (
    DemoRequest,
    DemoResult,
    DoctorRequest,
    DoctorResult,
    PrepareRequest,
    PrepareResult,
)
from pyro_mcp.operations.operation import Call, Effect, Operation
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT
from pyro_mcp.operations.run import VmCreateRequest, VmExecRequest
from pyro_mcp.operations.vms import VmDeleteResult, VmRequest

_COMMAND = "uname -srm; git --version; python3 -c 'print(6 * 7)'"
_TIMEOUT_S = 60


def _doctor(request: DoctorRequest, call: Call) -> DoctorResult:
    from pyro_mcp.operations.doctor import examine

    return examine(request, call)


def _prepare(request: PrepareRequest, call: Call) -> PrepareResult:
    from pyro_mcp.operations.preparation import prepare

    return prepare(request, call)


def _demo(request: DemoRequest, call: Call) -> DemoResult:
    """Take one VM from create to delete, and return the result of each step.

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


DOCTOR = Operation(
    name="doctor",
    title="Check this machine",
    description=(
        "Report what this machine can do: platform, directories, VMM, acceleration, environment, network,"
        " and whether the next VM starts fast. Every problem comes with the command that fixes it. If the"
        " environment is installed, a VM is booted: that proves acceleration, the presence of /dev/kvm does"
        " not. Exit status 0: VMs work here; 1: they do not."
    ),
    handler=_doctor,
    effect=Effect.READ,
    cli=("doctor",),
    tool=None,
    sdk="doctor",
)
PREPARE = Operation(
    name="prepare",
    title="Prepare this machine",
    description=(
        "Install an environment, warm the caches that make the next VM start fast, and check once that a VM"
        " can be created, run a command and be deleted. The result is recorded and reused until something"
        " it depends on changes (the environment, the kernel, the VMM, the processor, this release) or"
        " --force is given."
    ),
    handler=_prepare,
    effect=Effect.WRITE,
    idempotent=True,
    open_world=True,
    cli=("prepare",),
    tool=None,
    sdk="prepare",
)
DEMO = Operation(
    name="demo",
    title="Demonstrate a one-shot VM",
    description=(
        "Create a VM, start it, show its network, run a command in it and delete it; print the result of"
        " each step as one JSON object."
    ),
    handler=_demo,
    effect=Effect.WRITE,
    open_world=True,
    cli=("demo",),
    tool=None,
    sdk="demo",
)

ROWS = (DOCTOR, PREPARE, DEMO)
