"""This machine: doctor, prepare, demo."""

from __future__ import annotations

from pyro_mcp.operations.diagnosis import (
    DemoRequest,
    DoctorRequest,
    DoctorResult,
    PrepareRequest,
    PrepareResult,
)
from pyro_mcp.operations.operation import Call, Effect, Operation
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT
from pyro_mcp.operations.run import VM_RUN, VmExecResult, VmRunRequest

_COMMAND = "uname -srm; git --version; python3 -c 'print(6 * 7)'"
# From the guest's package archive, as it may be all that a network lets through. What is fetched is thrown away, so a
# certificate by an authority that only this host knows will do; ssl_verify_result is 0 if the guest knows it too.
FETCH = (
    "archive=$(sed -n 's#^deb .*https*:\\([^ ]*\\).*#\\1#p;q' /etc/apt/sources.list);"
    ' curl -sSfkL -o /dev/null "https:$archive/"'
    " -w 'https status %{http_code} from %{remote_ip}, ssl_verify_result %{ssl_verify_result}\\n'"
)
_TIMEOUT_S = 60


def _doctor(request: DoctorRequest, call: Call) -> DoctorResult:
    from pyro_mcp.operations.doctor import examine

    return examine(request, call)


def _prepare(request: PrepareRequest, call: Call) -> PrepareResult:
    from pyro_mcp.operations.preparation import prepare

    return prepare(request, call)


def _demo(request: DemoRequest, call: Call) -> VmExecResult:
    """Run one command in a fresh VM; with a network, one that fetches a page.

    Raises:
        PyroError: the failure; the VM is deleted even then.
    """
    run = VmRunRequest(
        environment=DEFAULT_ENVIRONMENT,
        command=FETCH if request.network else _COMMAND,
        network=request.network,
        timeout_seconds=_TIMEOUT_S,
    )
    return VM_RUN.handler(run, call)


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
        "Install an environment, warm the caches that make the next VM start fast, and prove once that a workspace"
        " can be created, run a command, be reset and be deleted. The result is recorded and reused until something"
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
        "Run a command in a fresh VM, and print its result as one JSON object. With --network, the command fetches"
        " a page of its package archive over HTTPS."
    ),
    handler=_demo,
    effect=Effect.WRITE,
    open_world=True,
    cli=("demo",),
    tool=None,
    sdk="demo",
)

ROWS = (DOCTOR, PREPARE, DEMO)
