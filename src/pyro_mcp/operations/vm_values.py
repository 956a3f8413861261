"""The requests and results of one-shot VMs, step by step.

Owns their fields and what is said of each. Refuses to know what becomes of them: that is `vms`'s part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.model import limits
from pyro_mcp.operations import named
from pyro_mcp.operations.fields import said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.run_values import ENVIRONMENT, EXECUTION_MODE, ISOLATION, VM_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class VmCreateRequest:
    """Ask for a VM."""

    environment: str = field(metadata=named.ENVIRONMENT)
    vcpu_count: int = field(default=limits.DEFAULT_VCPU_COUNT, metadata=named.VCPU_COUNT)
    mem_mib: int = field(default=limits.DEFAULT_MEM_MIB, metadata=named.MEM_MIB)
    ttl_seconds: int = field(default=limits.DEFAULT_TTL_S, metadata=named.TTL_SECONDS)
    network: bool = field(default=False, metadata=named.NETWORK)
    allow_host_compat: bool = field(default=False, metadata=named.ALLOW_HOST_COMPAT)
    require_kvm: bool = field(default=False, metadata=named.REQUIRE_KVM)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRequest:
    """Name one VM."""

    vm_id: str = field(metadata=named.VM_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmExecRequest:
    """Ask for one command in a VM that is there; it is deleted afterwards."""

    vm_id: str = field(metadata=named.VM_ID)
    command: str | tuple[str, ...] = field(metadata=named.COMMAND)
    timeout_seconds: int = field(default=limits.DEFAULT_TIMEOUT_S, metadata=named.TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmListRequest:
    """Ask for all VMs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmReapExpiredRequest:
    """Ask for the VMs whose time is up to be cleared away."""


@dataclass(frozen=True, slots=True)
class VmResult(Result):
    """One VM and its state."""

    vm_id: str = field(metadata=VM_ID)
    environment: str = field(metadata=ENVIRONMENT)
    state: str = field(metadata=said("Where it stands in its life: created, started, stopped, failed, or between."))
    stop_reason: str | None = field(metadata=said("Why it stopped: user, ttl, host_reboot, lost."))
    execution_mode: str | None = field(metadata=EXECUTION_MODE)
    isolation: str | None = field(metadata=ISOLATION)
    vcpu_count: int = field(metadata=said("Virtual CPUs."))
    mem_mib: int = field(metadata=said("Memory in MiB."))
    network_policy: str = field(metadata=said("What it may reach: off, egress."))
    ttl_seconds: int = field(metadata=said("How long it may live."))
    created_at: str = field(metadata=said("When it was created (UTC)."))
    expires_at: str = field(metadata=said("When it will be gone (UTC)."))
    last_error: str = field(metadata=said("What went wrong last."))


@dataclass(frozen=True, slots=True)
class VmListResult(Result):
    """All VMs."""

    count: int = field(metadata=said("How many there are."))
    vms: tuple[VmResult, ...] = field(metadata=said("The VMs, newest first."))


@dataclass(frozen=True, slots=True)
class VmDeleteResult(Result):
    """A VM that is gone."""

    vm_id: str = field(metadata=VM_ID)
    deleted: bool = field(metadata=said("Always true: what can't be deleted is an error."))


@dataclass(frozen=True, slots=True)
class InterfaceAddressResult(Result):
    """An address of a VM's network card, inside its private network."""

    address: str = field(metadata=said("The address."))
    prefix_length: int = field(metadata=said("Length of the network's prefix."))
    gateway: str = field(metadata=said("Its gateway."))


@dataclass(frozen=True, slots=True)
class VmNetworkInfoResult(Result):
    """A VM's network."""

    vm_id: str = field(metadata=VM_ID)
    network_policy: str = field(metadata=said("What it may reach: off, egress."))
    has_network: bool = field(metadata=said("Whether its network card leads anywhere now."))
    ipv4: InterfaceAddressResult | None = field(metadata=said("Its IPv4 address."))
    ipv6: InterfaceAddressResult | None = field(metadata=said("Its IPv6 address."))
    dns: tuple[str, ...] = field(metadata=said("Its name servers, in the order in which they are asked."))
    mtu: int | None = field(metadata=said("Largest packet it sends, in bytes."))


@dataclass(frozen=True, slots=True)
class VmReapExpiredResult(Result):
    """The VMs that were cleared away."""

    count: int = field(metadata=said("How many they were."))
    vm_ids: tuple[str, ...] = field(metadata=said("Their ids."))
