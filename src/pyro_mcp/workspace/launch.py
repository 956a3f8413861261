"""Bringing up the machine of one VM, up to where its agent waits to be told who it is.

Owns the choice between a template and a cold boot, and the VM's disks. Refuses to configure the guest: who calls
knows what comes with that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour, GuestConfig, RootDisk
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.vmm.driver import RestorePlan
from pyro_mcp.vmm.template import ROOT_DISK
from pyro_mcp.workspace.cold_boot import boot
from pyro_mcp.workspace.disks import copy_root_disk, make_root_disk, make_sparse
from pyro_mcp.workspace.machine_spec import drives_of, machine_spec, make_directories
from pyro_mcp.workspace.templates import TemplateWish, discard_template, using_template

if TYPE_CHECKING:
    from pyro_mcp.host.network import GuestNetwork
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.state.filenames import VmFiles
    from pyro_mcp.vmm.driver import Machine, MachineSpec
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.guards import Choice
    from pyro_mcp.workspace.images import Images

# What is no reason to give up a start: without a template it only takes longer.
_TEMPLATE_FAILURES = {ErrorCode.NO_SPACE, ErrorCode.UNSUPPORTED, ErrorCode.CORRUPT, ErrorCode.UNAVAILABLE}
_NOT_THE_TEMPLATES_FAULT = {ErrorCode.NO_SPACE, ErrorCode.UNSUPPORTED}
# The second one from a template that was made anew.
_RESTORES = 2
_MACHINE_ID_BYTES = 16
_HOSTNAME_CHARS = 12


def launch(
    engine: Engine, vm: Vm, choice: Choice, images: Images | None, *, flavour: Flavour, network_fd: int | None
) -> Machine:
    """Start the VM's machine and return it; its agent waits for `configure`.

    `fresh`: with a new root disk. `attach`: with the one that is there. Without images it runs on the host itself.

    Raises:
        PyroError: NO_SPACE; whatever keeps the machine from starting. Its processes are gone then; files may be left.
    """
    files = make_directories(engine, vm)
    fault_point("launch.directories")
    if images is None:
        return boot(choice, machine_spec(engine, vm, files, ()), None, None)
    drives = drives_of(engine, images, files.root_disk, files.workspace_disk)
    spec = machine_spec(engine, vm, files, drives, network_fd=network_fd)
    wish = TemplateWish(choice, images, vm.shape, flavour)
    for attempt in range(_RESTORES if choice.driver.features.templates else 0):
        try:
            return _restore(engine, wish, files, spec)
        except PyroError as error:
            if error.code not in _TEMPLATE_FAILURES:
                raise
            # What was made for the machine that did not come up is gone, or of no use.
            make_directories(engine, vm)
            _remove_disks(files, flavour)
            is_last = attempt == _RESTORES - 1 or error.code in _NOT_THE_TEMPLATES_FAULT
            if is_last or not discard_template(engine.paths, wish.parts().key):
                engine.notice(f"no template can be used ({error.message}): booting from the kernel instead")
                break
            engine.notice(f"the template could not be restored ({error.message}): it is made anew")
    return _boot(wish, files, spec)


def guest_config(vm: Vm, *, flavour: Flavour, network: GuestNetwork | None) -> GuestConfig:
    """Return what makes the guest this one and no other."""
    return GuestConfig(
        hostname=vm.id.replace("_", "-")[:_HOSTNAME_CHARS],
        machine_id=os.urandom(_MACHINE_ID_BYTES).hex(),
        network=network,
        root=RootDisk.MOUNTED if flavour is Flavour.FRESH else RootDisk.ATTACH,
    )


def _restore(engine: Engine, wish: TemplateWish, files: VmFiles, spec: MachineSpec) -> Machine:
    with using_template(engine, wish) as template:
        if wish.flavour is Flavour.FRESH:
            make_sparse(files.workspace_disk, ROOT_DISK_BYTES)
            copy_root_disk(template, ROOT_DISK, files.root_disk)
        fault_point("launch.disk_copied")
        machine = wish.choice.driver.restore(RestorePlan(spec, wish.choice.accelerator, template))
        fault_point("launch.restored")
        return machine


def _boot(wish: TemplateWish, files: VmFiles, spec: MachineSpec) -> Machine:
    if wish.flavour is Flavour.FRESH:
        make_sparse(files.workspace_disk, ROOT_DISK_BYTES)
        make_root_disk(files.root_disk)
    return boot(wish.choice, spec, wish.images, wish.flavour)


def _remove_disks(files: VmFiles, flavour: Flavour) -> None:
    if flavour is Flavour.FRESH:
        for path in (files.root_disk, files.workspace_disk):
            path.unlink(missing_ok=True)
