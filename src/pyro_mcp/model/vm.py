"""The record of a VM. A changed VM is a new value, created by the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that is working on a VM; once it is dead, any process may clean up the VM."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Lease:
    """When a VM expires.

    `expires_at` (seconds since the epoch) is for display, and for a VM that was stopped by a reboot. Within one boot
    the time since boot counts, so that setting the clock neither kills a VM nor keeps one alive.
    """

    ttl_s: int
    created_at: float
    expires_at: float
    boot_id: str
    expires_boottime_s: float


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The read-only base image of a VM. It is referenced by path, so pruning must keep it."""

    digest: str
    path: str


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM. `owner` is set while a process works on it, `machine` while it is running.

    An `ephemeral` VM was created for a single run and ends with its owner. `network` is the guest's network
    configuration, `boot_digest` the boot source, `variables` the environment variables of its commands. A workspace's
    VM has its `workspace_id`; it is managed through the workspace, and VM operations don't affect it.
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
    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
