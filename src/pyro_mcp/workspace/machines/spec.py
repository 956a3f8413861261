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
    """Create the VM's two directories, after checking for free space.

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
    """Return the drives of a guest, in order: base, root, workspace, baseline.

    If they `are_kept` when the machine ends, the guest's flushes reach the host's disk, to survive a crash of the host.
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
        PyroError: NOT_FOUND if the lease has expired.
    """
    ttl_s = engine.clock.remaining_s(vm.lease)
    if ttl_s <= 0:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the time to live of {vm.id}, {vm.lease.ttl_s} seconds, has run out",
            hint="Create another one, with a longer `--ttl` if necessary.",
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
        # A workspace's disks are elsewhere, and no timer removes them.
        remove_at_ttl=() if vm.ephemeral or vm.workspace_id else (files.directory,),
        flush=tuple(own_python(_FLUSH, os.fspath(files.runtime), os.fspath(files.flush))) if vm.workspace_id else (),
        owned=vm.ephemeral,
        host_tree=host_tree,
    )


def _disks(files: VmFiles, drives: tuple[Drive, ...]) -> tuple[Path, ...]:
    """Return the paths that hold a run's data, which are removed with the machine even if its caller was killed.

    The end of the console log is left for the caller, or for the next reconcile. Without drives, on the host itself,
    the data is in the directory.
    """
    return (files.root_disk, files.workspace_disk) if drives else (files.directory,)


class Disks(NamedTuple):
    """The disks that a VM writes to, and its read-only baseline (None: it has none).

    If they are `new`, they are created for it, the root disk as a copy of the template's.
    """

    root: Path
    workspace: Path
    baseline: Path | None = None
    root_is_new: bool = True
    workspace_is_new: bool = True
    #: In place of the baseline there is a disk that everything is copied to.
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

    `fresh` means a new root disk, `attach` the existing one. By default, `disks` are in the VM's own directory.
    """

    vm: Vm
    choice: Selection
    images: Images | None
    flavour: Flavour
    disks: Disks | None = None
    host_tree: HostTree | None = None
