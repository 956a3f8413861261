"""The parts of a VM's machine: its directories, its drives, its template, and which files are removed when.

The guest relies on the order of the drives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.host.process.own_python import own_python
from pyro_mcp.protocol import wire
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.vmm.driver import Drive, MachineSpec
from pyro_mcp.vmm.template import TemplateParts, host_cpu
from pyro_mcp.workspace.machines.disks import placeholder, require_space

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.agent import Flavour
    from pyro_mcp.model.limits import Shape
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.vmm.driver import HostTree
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.images import Images

_FLUSH = "pyro_mcp.workspace.machines.power_off:flush"


def make_directories(engine: Engine, vm: Vm) -> VmFiles:
    """Make the VM's two directories, after looking whether there is room.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    files = VmFiles(engine.paths, vm.id)
    ensure_private_dir(engine.paths.vms)
    ensure_private_dir(engine.paths.runtime)
    ensure_private_dir(engine.paths.runtime_vms)
    require_space(engine.paths.vms)
    if not files.directory.exists():
        ensure_private_dir(files.directory)
        files.unfinished.touch(0o600)
    ensure_private_dir(files.runtime)
    return files


def drives_of(engine: Engine, images: Images, disks: Disks, *, are_kept: bool) -> tuple[Drive, ...]:
    """Return the drives of a guest, in its order: base, root, workspace, baseline.

    Disks that `are_kept` when the machine ends survive a crash of the host too: the guest's flushes reach the disk.
    """
    return (
        Drive(images.environment.base_image, read_only=True),
        Drive(disks.root, volatile=not are_kept),
        Drive(disks.workspace, volatile=not are_kept),
        Drive(
            placeholder(engine.paths) if disks.baseline is None else disks.baseline,
            read_only=not disks.is_exported,
            volatile=disks.is_exported,
        ),
    )


def machine_spec(
    engine: Engine,
    vm: Vm,
    files: VmFiles,
    drives: tuple[Drive, ...],
    *,
    network_fd: int | None = None,
    host_tree: HostTree | None = None,
) -> MachineSpec:
    """Return the specification for a driver. The rest of the lease is the machine's time to live.

    Raises:
        PyroError: NOT_FOUND if the lease is over.
    """
    ttl_s = engine.clock.remaining_s(vm.lease)
    if ttl_s <= 0:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the time of {vm.id} is up: it was to live for {vm.lease.ttl_s} seconds",
            hint="Create another one, with a longer `--ttl` if need be.",
            details={"vm_id": vm.id},
        )
    return MachineSpec(
        vm_id=vm.id,
        shape=vm.shape,
        drives=drives,
        runtime_dir=files.runtime,
        state_dir=files.directory,
        ttl_s=ttl_s,
        network_fd=network_fd,
        remove_at_end=(files.runtime, *_disks(files, drives)) if vm.ephemeral else (files.runtime,),
        # A workspace's disks lie elsewhere, and no timer removes them.
        remove_at_ttl=() if vm.ephemeral or vm.workspace_id else (files.directory,),
        flush=tuple(own_python(_FLUSH, os.fspath(files.runtime), os.fspath(files.flush))) if vm.workspace_id else (),
        owned=vm.ephemeral,
        host_tree=host_tree,
    )


def _disks(files: VmFiles, drives: tuple[Drive, ...]) -> tuple[Path, ...]:
    """Return what holds the data of a run, so that it goes with the machine although its caller was killed.

    The console's end stays for the caller, or for the next reconcile. Without drives, on the host itself, the data lies
    in the directory.
    """
    return (files.root_disk, files.workspace_disk) if drives else (files.directory,)


class Disks(NamedTuple):
    """The disks that a VM writes to, and the baseline that it does not (None: it has none).

    Those that are `new` are made for it, the root disk as the template has it.
    """

    root: Path
    workspace: Path
    baseline: Path | None = None
    root_is_new: bool = True
    workspace_is_new: bool = True
    #: In the baseline's place is a disk that everything is copied to.
    is_exported: bool = False


@dataclass(frozen=True, slots=True)
class TemplateRequest:
    """The template that a start needs."""

    choice: Selection
    images: Images
    shape: Shape
    flavour: Flavour

    def parts(self) -> TemplateParts:
        """Return everything that the template depends on."""
        return TemplateParts(
            kind=self.choice.driver.kind,
            accelerator=self.choice.accelerator,
            vmm=self.choice.driver.identity(),
            shape=self.shape,
            boot_digest=self.images.boot.digest,
            generation=wire.GENERATION,
            base_digest=self.images.environment.digest,
            flavour=self.flavour.value,
            cpu=host_cpu(),
        )


@dataclass(frozen=True, slots=True)
class StartPlan:
    """How to start the machine of a VM. Without images it runs on the host itself.

    `fresh`: with a new root disk. `attach`: with the existing one. Without `disks` they are in the VM's own directory.
    """

    vm: Vm
    choice: Selection
    images: Images | None
    flavour: Flavour
    disks: Disks | None = None
    host_tree: HostTree | None = None
