"""A short-lived guest that reads the disks of a stopped workspace; it runs nothing from the workspace.

It has a VM record while it runs and leaves nothing behind. It gets the disks read-only.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pyro_mcp.agent import CancelToken, Flavour
from pyro_mcp.agent.file_values import Area
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.states import WorkspaceState, workspace_conflict
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import discard_vm_if_there
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.vmm.driver import Machine
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.lifecycle.lost_disks import RESCUE_HINT, has_lost_root, is_root_damaged, usable_baseline
from pyro_mcp.workspace.lifecycle.machine import new_vm
from pyro_mcp.workspace.machines.boot import configured
from pyro_mcp.workspace.machines.images import images_of
from pyro_mcp.workspace.machines.launch import guest_config, launch
from pyro_mcp.workspace.machines.selection import choose, demands_of
from pyro_mcp.workspace.machines.spec import Disks, StartPlan

# Of the VMM, in case this process is killed and pyro is not run again.
_TTL_S = 2 * 3600
_STOPPED = {WorkspaceState.STOPPED, WorkspaceState.FAILED}


@contextmanager
def stopped_workspace(engine: Engine, handle: str) -> Generator[Workspace]:
    """Yield a stopped workspace, which stays stopped inside the block.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is not stopped; UNSUPPORTED if it has no disks; BUSY.
    """
    engine.reconcile()
    workspace_id = find_workspace(engine, handle).id
    with workspace_lock(engine.paths, workspace_id):
        workspace = engine.store.workspaces.get(workspace_id)
        if workspace.is_host_compat:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"the workspace {workspace.title} has no disk: its commands run on this host itself (host compat)",
                hint="Use `pyro workspace file list` and `pyro workspace file read`, or `pyro workspace export`.",
            )
        if workspace.state not in _STOPPED:
            raise workspace_conflict(workspace.title, workspace.state, "its disk can be read only while it is stopped")
        yield workspace


@contextmanager
def looking_into(
    engine: Engine, workspace: Workspace, *, output: Path | None = None, cancel: CancelToken | None = None
) -> Generator[GuestFiles]:
    """Yield the whole root of a stopped workspace, whose lock the caller holds. `output` is a disk to copy it to.

    Raises:
        PyroError: any failure of the guest.
    """
    if has_lost_root(engine, workspace):
        raise PyroError(
            ErrorCode.NOT_FOUND, f"the root disk of the workspace {workspace.title} is lost", hint=RESCUE_HINT
        )
    choice = choose(engine, demands_of(workspace))
    images = images_of(engine, workspace)
    vm = new_vm(engine, workspace, choice, images)
    vm = engine.store.vms.insert(replace(vm, lease=engine.clock.lease(_TTL_S)))
    with ExitStack() as stack:
        stack.callback(discard_vm_if_there, engine.store, engine.paths, vm.id)
        fault_point("ws_inspection.recorded")
        disks = _disks(WorkspaceFiles(engine.paths, workspace.id), workspace.life, output)
        machine = launch(engine, StartPlan(vm, choice, images, Flavour.ATTACH, disks))
        stack.callback(machine.close)
        stack.callback(machine.kill)
        fault_point("ws_inspection.launched")
        _remember(engine, vm, machine)
        config = replace(guest_config(vm, flavour=Flavour.ATTACH, network=None), inspect=True)
        try:
            with configured(
                machine, config, f"the disk of the workspace {workspace.title} could not be read"
            ) as session:
                yield GuestFiles(session, area=Area.ROOT, cancel=cancel)
        except PyroError as error:
            hint = RESCUE_HINT if is_root_damaged(error) else error.hint
            raise PyroError(error.code, error.message, hint=hint, details=error.details) from error
        fault_point("ws_inspection.ended")


def _remember(engine: Engine, vm: Vm, machine: Machine) -> None:
    """Record the machine, so that any process can remove it."""
    vm = replace(vm, machine=machine.record)
    write_copy(VmFiles(engine.paths, vm.id), vm)
    engine.store.vms.update(vm.id, lambda _: vm)


def _disks(files: WorkspaceFiles, life: int, output: Path | None) -> Disks:
    return Disks(
        files.root_disk(life),
        files.workspace_disk(life),
        usable_baseline(files) if output is None else output,
        root_is_new=False,
        workspace_is_new=False,
        is_exported=output is not None,
    )
