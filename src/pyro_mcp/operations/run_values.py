"""The request and the result of a command in a VM: all that `pyro run` loads of this family's values.

Owns their fields and what is said of each. Refuses to know what becomes of them: that is `run`'s part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.model import limits
from pyro_mcp.operations import named
from pyro_mcp.operations.fields import said
from pyro_mcp.operations.operation import Result

ENVIRONMENT = said("The environment it was made from.")
VM_ID = said("Id of the VM.")
EXECUTION_MODE = said("Where the command ran: guest_virtio_serial, guest_vsock, or host_compat (no VM).")
ISOLATION = said("What stood between it and this host: kvm, tcg (a VM in software), none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRunRequest:
    """Ask for one command in a fresh VM."""

    environment: str = field(metadata=named.ENVIRONMENT)
    command: str | tuple[str, ...] = field(metadata=named.COMMAND)
    vcpu_count: int = field(default=limits.DEFAULT_VCPU_COUNT, metadata=named.VCPU_COUNT)
    mem_mib: int = field(default=limits.DEFAULT_MEM_MIB, metadata=named.MEM_MIB)
    timeout_seconds: int = field(default=limits.DEFAULT_TIMEOUT_S, metadata=named.TIMEOUT_SECONDS)
    ttl_seconds: int = field(default=limits.DEFAULT_TTL_S, metadata=named.TTL_SECONDS)
    network: bool = field(default=False, metadata=named.NETWORK)
    allow_host_compat: bool = field(default=False, metadata=named.ALLOW_HOST_COMPAT)
    require_kvm: bool = field(default=False, metadata=named.REQUIRE_KVM)


@dataclass(frozen=True, slots=True)
class VmExecResult(Result):
    """What became of one command. Its exit code is a result, whatever it is."""

    vm_id: str = field(metadata=VM_ID)
    environment: str = field(metadata=ENVIRONMENT)
    command: str | tuple[str, ...] = field(metadata=said("The command, as it was given."))
    execution_mode: str = field(metadata=EXECUTION_MODE)
    isolation: str = field(metadata=ISOLATION)
    exit_code: int = field(metadata=said("Its exit status; 128+N if signal N ended it; 124 if its time was up."))
    timed_out: bool = field(metadata=said("Whether it ran past its timeout and was killed."))
    duration_ms: int = field(metadata=said("How long it ran."))
    stdout: str = field(metadata=said("What it wrote to stdout, the middle left out if long.", guest=True))
    stderr: str = field(metadata=said("What it wrote to stderr, the middle left out if long.", guest=True))
    stdout_bytes: int = field(metadata=said("How much it wrote to stdout."))
    stderr_bytes: int = field(metadata=said("How much it wrote to stderr."))
    stdout_truncated: bool = field(metadata=said("Whether something of stdout was left out."))
    stderr_truncated: bool = field(metadata=said("Whether something of stderr was left out."))
