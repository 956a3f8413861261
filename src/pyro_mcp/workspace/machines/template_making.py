"""Make a template: boot once, prepare everything that clones share, and save.

A template is published complete; a process killed at any step leaves nothing visible.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from pyro_mcp.host.durable import staged_dir
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import BaseImage, Vm
from pyro_mcp.vmm.template import RAM, ROOT_DISK, TemplateParts, seal_template
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.boot import boot
from pyro_mcp.workspace.machines.disks import make_root_disk, make_sparse, require_space
from pyro_mcp.workspace.machines.ephemeral import ephemeral_vm
from pyro_mcp.workspace.machines.spec import Disks, TemplateRequest, drives_of, machine_spec, make_directories

# More than the memory that a guest has touched by that time.
_WANTED_BYTES = 512 * 1024**2
# A boot that hangs is ended, even if this process is dead.
_TTL_S = 300
# The guest only detects the disk; each clone brings its own content.
_WORKSPACE_DISK = "workspace.img"


def make_template(
    engine: Engine, request: TemplateRequest, parts: TemplateParts, publishing: AbstractContextManager[None]
) -> None:
    """Make the template `parts` and publish it inside `publishing`, replacing an existing one.

    Raises:
        PyroError: NO_SPACE; any error while booting, preparing and saving. Nothing is left behind.
    """
    paths = engine.paths
    ensure_private_dir(paths.templates)
    require_space(ensure_private_dir(paths.tmp), _WANTED_BYTES)
    engine.progress.phase(
        "template", f"booting a guest of {request.images.environment.name} once, to start others from"
    )
    with ExitStack() as published:
        with staged_dir(paths.tmp, paths.templates / parts.key, replaces=True) as staged:
            fault_point("template.staged")
            _boot_and_save(engine, request, staged)
            os.unlink(staged / _WORKSPACE_DISK)
            fault_point("template.saved")
            seal_template(staged, parts)
            fault_point("template.sealed")
            published.enter_context(publishing)
        fault_point("template.published")


def _boot_and_save(engine: Engine, request: TemplateRequest, staged: Path) -> None:
    images = request.images
    make_root_disk(staged / ROOT_DISK)
    make_sparse(staged / _WORKSPACE_DISK, ROOT_DISK_BYTES)
    vm = Vm(
        id=new_vm_id(),
        environment=images.environment.name,
        base=BaseImage(images.environment.digest, os.fspath(images.environment.base_image)),
        boot_digest=images.boot.digest,
        shape=request.shape,
        network_policy=NetworkPolicy.OFF,
        allow_host_compat=False,
        require_kvm=False,
        ephemeral=True,
        lease=engine.clock.lease(_TTL_S),
        state=VmState.STARTING,
    )
    with ephemeral_vm(engine, vm, images) as own:
        files = make_directories(engine, own)
        drives = drives_of(engine, images, Disks(staged / ROOT_DISK, staged / _WORKSPACE_DISK), are_kept=False)
        machine = boot(
            request.choice, machine_spec(engine, own, files, drives), images, request.flavour, ram_file=staged / RAM
        )
        engine.progress.advance(0.8, "saving it")
        request.choice.driver.save(machine, staged)
