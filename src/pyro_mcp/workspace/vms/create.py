"""Create a VM: record it, after checking that everything it needs is available.

It has no disk and no process yet. A missing environment is pulled.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.image.names import check_name
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import DEFAULT_TTL_S, Shape, check_ttl
from pyro_mcp.model.network import NetworkRules
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import BaseImage, Vm
from pyro_mcp.state.discard import discard_vm_if_there
from pyro_mcp.vmm.selection import Selection
from pyro_mcp.workspace.certificates import keep_certificates, require_guest
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.disks import require_space
from pyro_mcp.workspace.machines.images import Images, images_for, recorded
from pyro_mcp.workspace.machines.selection import Demands, choose
from pyro_mcp.workspace.machines.spec import make_directories

if TYPE_CHECKING:
    from pyro_mcp.host.certificates import Certificate


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A request to create a VM. `ttl_s` is in seconds since its creation."""

    environment: str
    shape: Shape = field(default_factory=Shape)
    ttl_s: int = DEFAULT_TTL_S
    network_policy: NetworkPolicy = NetworkPolicy.OFF
    allow_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    allow_host_compat: bool = False
    require_kvm: bool = False
    ca_certificates: tuple[Certificate, ...] = ()

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            PyroError: INVALID.
        """
        check_ttl(self.ttl_s)
        self.rules  # noqa: B018 - it checks

    @property
    def rules(self) -> NetworkRules:
        """Return its network policy and the hosts beside it.

        Raises:
            PyroError: INVALID if they don't fit.
        """
        return NetworkRules.of(self)


def create_vm(engine: Engine, spec: VmSpec) -> Vm:
    """Record a new VM and return it.

    Raises:
        PyroError: NOT_FOUND for an unknown environment; the reason why this host can't run it; NO_SPACE.
    """
    engine.reconcile()
    engine.progress.phase("create", f"environment={spec.environment}")
    vm, _, images = planned(engine, spec)
    vm = recorded(engine, images, vm)
    fault_point("create.recorded")
    if spec.ca_certificates:
        with ExitStack() as failed:
            failed.callback(discard_vm_if_there, engine.store, engine.paths, vm.id)
            keep_certificates(make_directories(engine, vm).certificates, spec.ca_certificates)
            failed.pop_all()
    return vm


def planned(engine: Engine, spec: VmSpec) -> tuple[Vm, Selection, Images | None]:
    """Return the record of a requested VM, its driver, and its images (None: it runs on the host itself).

    Raises:
        PyroError: as `create_vm`.
    """
    check_name(spec.environment)
    choice = choose(engine, Demands(spec.network_policy, spec.allow_host_compat, spec.require_kvm))
    require_guest(spec.ca_certificates, is_guest=choice.is_guest)
    require_space(ensure_private_dir(engine.paths.state))
    images = images_for(engine, spec.environment) if choice.is_guest else None
    vm = Vm(
        id=new_vm_id(),
        environment=spec.environment,
        base=None if images is None else BaseImage(images.environment.digest, os.fspath(images.environment.base_image)),
        variables={} if images is None else images.environment.variables,
        boot_digest="" if images is None else images.boot.digest,
        shape=spec.shape,
        network_policy=spec.network_policy,
        allow_hosts=spec.rules.allow_hosts,
        deny_hosts=spec.rules.deny_hosts,
        allow_host_compat=spec.allow_host_compat,
        require_kvm=spec.require_kvm,
        ephemeral=False,
        lease=engine.clock.lease(spec.ttl_s),
        state=VmState.CREATED,
    )
    return vm, choice, images
