"""Start the machine of one VM, to the point where its agent waits for its configuration.

The machine is restored from a template where possible, and booted otherwise. The caller configures the guest.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour, GuestConfig, RootDisk
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.vmm.allowance import require_allowance
from pyro_mcp.vmm.driver import RestorePlan
from pyro_mcp.vmm.template import ROOT_DISK
from pyro_mcp.workspace.machines.boot import boot
from pyro_mcp.workspace.machines.disks import copy_root_disk, make_root_disk, make_sparse
from pyro_mcp.workspace.machines.spec import (
    Disks,
    StartPlan,
    TemplateRequest,
    drives_of,
    machine_spec,
    make_directories,
)
from pyro_mcp.workspace.machines.templates import discard_template, using_template

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pyro_mcp.host.network import Egress, GuestNetwork
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.state.filenames import VmFiles
    from pyro_mcp.vmm.driver import Machine, MachineSpec
    from pyro_mcp.workspace.engine import Engine

# These do not fail a start: without a template it only takes longer.
_TEMPLATE_FAILURES = {ErrorCode.NO_SPACE, ErrorCode.UNSUPPORTED, ErrorCode.CORRUPT, ErrorCode.UNAVAILABLE}
# The second one is from a rebuilt template.
_RESTORES = 2
_MACHINE_ID_BYTES = 16
_HOSTNAME_CHARS = 12


def own_disks(files: VmFiles, flavour: Flavour) -> Disks:
    """Return the disks in a VM's own directory: new ones, unless it is restarted."""
    is_new = flavour is Flavour.FRESH
    return Disks(files.root_disk, files.workspace_disk, root_is_new=is_new, workspace_is_new=is_new)


def launch(engine: Engine, plan: StartPlan, egress: Egress | None = None) -> Machine:
    """Start the machine of a VM and return it; its agent waits for `configure`.

    Raises:
        PyroError: NO_SPACE; any reason why the machine can't start. Its processes have ended then; files may remain.
    """
    vm, choice, images, flavour = plan.vm, plan.choice, plan.images, plan.flavour
    require_allowance(vm.shape)
    files = make_directories(engine, vm)
    fault_point("launch.directories")
    if images is None:
        return boot(choice, machine_spec(engine, vm, files, (), host_tree=plan.host_tree), None, None)
    disks = own_disks(files, flavour) if plan.disks is None else plan.disks
    drives = drives_of(engine, images, disks, are_kept=not vm.ephemeral)
    spec = machine_spec(engine, vm, files, drives, network_fd=None if egress is None else egress.vmm_fd)
    request = TemplateRequest(choice, images, vm.shape, flavour)
    # Templates are made with a read-only baseline.
    has_template = choice.driver.features.templates and not disks.is_exported
    for attempt in range(_RESTORES if has_template else 0):
        try:
            return _restore(engine, request, disks, spec)
        except PyroError as error:
            if error.code not in _TEMPLATE_FAILURES:
                raise
            # Files of the machine that did not come up are gone or useless.
            remove_tree(files.runtime)
            make_directories(engine, vm)
            _remove_disks(disks)
            may_rebuild = error.code is ErrorCode.CORRUPT and attempt + 1 < _RESTORES
            if may_rebuild and discard_template(engine.paths, request.parts().key):
                engine.notice(f"the template could not be restored ({error.message}): rebuilding it")
                continue
            engine.notice(f"no template can be used ({error.message}): booting from the kernel instead")
            return _boot_instead(engine, request, disks, spec, error)
    return _boot(request, disks, spec)


def _boot_instead(
    engine: Engine, request: TemplateRequest, disks: Disks, spec: MachineSpec, error: PyroError
) -> Machine:
    """Boot after a failed restore. The shared template is at fault, and discarded, only if the boot works.

    Otherwise a caller that is short of memory or descriptors would discard it for everyone.
    """
    machine = _boot(request, disks, spec)
    if error.code is ErrorCode.UNAVAILABLE:
        with suppress(PyroError):
            discard_template(engine.paths, request.parts().key)
    return machine


def guest_config(
    vm: Vm, *, flavour: Flavour, network: GuestNetwork | None, certificates: Mapping[str, str] | None = None
) -> GuestConfig:
    """Return the guest's identity: the part that differs between clones of a template."""
    return GuestConfig(
        hostname=(vm.workspace_id or vm.id).replace("_", "-")[:_HOSTNAME_CHARS],
        machine_id=os.urandom(_MACHINE_ID_BYTES).hex(),
        network=network,
        root=RootDisk.MOUNTED if flavour is Flavour.FRESH else RootDisk.ATTACH,
        workspace=bool(vm.workspace_id),
        certificates=certificates or {},
    )


def _restore(engine: Engine, request: TemplateRequest, disks: Disks, spec: MachineSpec) -> Machine:
    with using_template(engine, request) as template:
        if disks.workspace_is_new:
            make_sparse(disks.workspace, ROOT_DISK_BYTES)
        if disks.root_is_new:
            copy_root_disk(template, ROOT_DISK, disks.root)
        fault_point("launch.disk_copied")
        machine = request.choice.driver.restore(RestorePlan(spec, request.choice.accelerator, template))
        fault_point("launch.restored")
        return machine


def _boot(request: TemplateRequest, disks: Disks, spec: MachineSpec) -> Machine:
    if disks.workspace_is_new:
        make_sparse(disks.workspace, ROOT_DISK_BYTES)
    if disks.root_is_new:
        make_root_disk(disks.root)
    return boot(request.choice, spec, request.images, request.flavour)


def _remove_disks(disks: Disks) -> None:
    if disks.root_is_new:
        disks.root.unlink(missing_ok=True)
    if disks.workspace_is_new:
        disks.workspace.unlink(missing_ok=True)


@contextmanager
def egress_of(engine: Engine, vm: Vm) -> Generator[Egress | None]:
    """Open the VM's network, if it has one; an exception in the block ends it.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM if this host can't give a guest a network.
    """
    if not vm.network_policy.has_network:
        yield None
        return
    from pyro_mcp.host.network import open_egress
    from pyro_mcp.model.network import NetworkRules
    from pyro_mcp.workspace.machines.network import filter_settings, network_files

    make_directories(engine, vm)
    settings = filter_settings(engine, vm, NetworkRules.of(vm))
    with open_egress(network_files(engine.paths, vm), settings=settings) as egress:
        yield egress
