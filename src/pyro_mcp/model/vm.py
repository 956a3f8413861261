"""The record of a VM. A changed VM is a new value, made by the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that is working on a VM; once it is dead, the VM is anybody's to clean up."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Lease:
    """When a VM's time is up.

    `expires_at` (seconds since the epoch) is for people, and for a VM that a reboot stopped. Within one boot
    the time since boot counts, so that a clock that is set neither kills a VM nor keeps one alive.
    """

    ttl_s: int
    created_at: float
    expires_at: float
    boot_id: str
    expires_boottime_s: float


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The read-only image that a VM stands on. It is referenced by path: pruning must keep it."""

    digest: str
    path: str


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM. `owner` is set while a process works on it, `machine` while it runs.

    One that is `ephemeral` was made by a run: nobody else knows of it, and it ends with its owner. `network` is what
    the guest was given (addresses and so on), `boot_digest` what it booted, `variables` what its commands find set. One
    that a workspace runs in has its `workspace_id`; its life is the workspace's, and no VM verb touches it.
    """

    id: str
    environment: str
    base: BaseImage | None
    shape: Shape
    network_policy: NetworkPolicy
    allow_host_compat: bool
    require_kvm: bool
    ephemeral: bool
    lease: Lease
    state: VmState
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    boot_digest: str = ""
    stop_reason: StopReason | None = None
    execution_mode: ExecutionMode | None = None
    isolation: Isolation | None = None
    machine: MachineRecord | None = None
    network: Mapping[str, object] | None = None
    owner: Owner | None = None
    last_error: str = ""
    workspace_id: str = ""
