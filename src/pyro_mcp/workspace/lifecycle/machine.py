"""Bring up the machine of a workspace, for create, start and reset alike.

The VM record exists before anything else, and nothing is left behind on failure. The caller updates the workspace's
own record, and so decides which disks count and from when.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import os_errors
from pyro_mcp.host.durable import fsync_dir
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.limits import WORKSPACE_MACHINE_TTL_S
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import discard_vm_if_there
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.state.store import this_process
from pyro_mcp.vmm.driver import HostTree
from pyro_mcp.workspace.certificates import kept_certificates
from pyro_mcp.workspace.lifecycle.lost_disks import usable_baseline
from pyro_mcp.workspace.machines.boot import configured
from pyro_mcp.workspace.machines.disks import BackgroundWork, sync_disk
from pyro_mcp.workspace.machines.launch import egress_of, guest_config, launch
from pyro_mcp.workspace.machines.spec import Disks, StartPlan
from pyro_mcp.workspace.ttl import watch, watched

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.host.network import Egress
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.process import Child
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.vmm.driver import Machine
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.images import Images


@dataclass(frozen=True, slots=True)
class StartedMachine:
    """A running machine. `record` stores its VM, in the transaction that makes it the workspace's."""

    vm: Vm
    record: Callable[[sqlite3.Connection], object]


class _Watching(BackgroundWork):
    """Starts the watcher in a thread during configuration. A context manager: an exception ends the watcher."""

    def __init__(self, paths: Paths, workspace: Workspace, vm_id: str, machine: MachineRecord) -> None:
        super().__init__(self._watch)
        self._start = partial(watch, paths, workspace, vm_id, machine, after_s=workspace.ttl_s)
        self._watcher: Child | None = None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        super().__exit__(kind, error, trace)
        if self._watcher is not None:
            self._watcher.__exit__(kind, error, trace)

    def watcher(self) -> Child:
        """Return the running watcher.

        Raises:
            PyroError: as `watch`.
        """
        self.finish()
        assert self._watcher is not None  # noqa: S101 - else `finish` raises
        return self._watcher

    def _watch(self) -> None:
        self._watcher = self._start()


def new_vm(engine: Engine, workspace: Workspace, choice: Selection, images: Images | None) -> Vm:
    """Return the record of a new VM for the workspace."""
    return Vm(
        id=new_vm_id(),
        environment=workspace.environment,
        base=workspace.base,
        shape=workspace.shape,
        network_policy=workspace.network_policy,
        allow_hosts=workspace.allow_hosts,
        deny_hosts=workspace.deny_hosts,
        allow_host_compat=workspace.allow_host_compat,
        require_kvm=workspace.require_kvm,
        ephemeral=False,
        # The workspace's own time to live applies instead.
        lease=engine.clock.lease(WORKSPACE_MACHINE_TTL_S),
        state=VmState.STARTING,
        variables=workspace.variables,
        boot_digest="" if images is None else images.boot.digest,
        execution_mode=choice.execution_mode,
        isolation=choice.isolation,
        owner=this_process(),
        workspace_id=workspace.id,
    )


@contextmanager
def machine_up(
    engine: Engine,
    workspace: Workspace,
    plan: StartPlan,
    *,
    life: int,
    meanwhile: Callable[[], object] | None = None,
) -> Generator[StartedMachine]:
    """Start the machine of a recorded VM, on the disks of generation `life`; the block records it as the workspace's.

    `meanwhile` is called when the machine runs, before its guest is configured. If that, the start or the block fails,
    the VM is removed.

    Raises:
        PyroError: NO_SPACE; any reason why it can't start.
    """
    files = WorkspaceFiles(engine.paths, workspace.id)
    tree = HostTree(files.workspace_tree(life), files.baseline_tree)
    plan = replace(plan, disks=_disks(files, life, plan.flavour), host_tree=tree)
    vm, images, flavour = plan.vm, plan.images, plan.flavour
    with ExitStack() as failed:
        failed.callback(discard_vm_if_there, engine.store, engine.paths, vm.id)
        with ExitStack() as stack:
            egress = stack.enter_context(egress_of(engine, vm))
            machine = launch(engine, plan, egress)
            stack.callback(machine.close)
            # A new root disk is still in the host's page cache, which a power cut would lose.
            is_new_disk = images is not None and flavour is Flavour.FRESH
            root = (
                stack.enter_context(BackgroundWork(partial(_sync_new, files.root_disk(life)))) if is_new_disk else None
            )
            with ExitStack() as unrecorded:
                # It is recorded only when it is up; until then this process has to end it.
                unrecorded.callback(machine.kill)
                watching = unrecorded.enter_context(_Watching(engine.paths, workspace, vm.id, machine.record))
                fault_point("ws_machine.launched")
                if meanwhile is not None:
                    meanwhile()
                _configure(engine, workspace, vm, machine, flavour, egress)
                fault_point("ws_machine.configured")
                watcher = watching.watcher()
                fault_point("ws_machine.watched")
                up = _up(vm, watched(machine.record, watcher), egress)
                write_copy(VmFiles(engine.paths, vm.id), up)
                if root is not None:
                    root.finish()
                yield StartedMachine(up, lambda connection: engine.store.vms.update_in(connection, vm.id, lambda _: up))
                fault_point("ws_machine.recorded")
                # The watcher is detached and keeps running.
                watcher.close()
                unrecorded.pop_all()
        failed.pop_all()


def _sync_new(disk: Path) -> None:
    """Sync a new disk and its directory entry."""
    sync_disk(disk)
    with os_errors(f"sync {disk.parent}"):
        fsync_dir(disk.parent)


def _up(vm: Vm, record: MachineRecord, egress: Egress | None) -> Vm:
    network = None if egress is None else egress.guest.to_json()
    return replace(vm, state=VmState.STARTED, owner=None, machine=record, network=network)


def _disks(files: WorkspaceFiles, life: int, flavour: Flavour) -> Disks:
    return Disks(
        files.root_disk(life),
        files.workspace_disk(life),
        usable_baseline(files),
        root_is_new=flavour is Flavour.FRESH,
        workspace_is_new=False,
    )


def _configure(
    engine: Engine, workspace: Workspace, vm: Vm, machine: Machine, flavour: Flavour, egress: Egress | None
) -> None:
    certificates: dict[str, str] = {}
    if workspace.ca_certificates:
        path = WorkspaceFiles(engine.paths, workspace.id).certificates
        certificates = kept_certificates(path, f"the workspace {workspace.title}", expected=True)
    network = None if egress is None else egress.guest
    config = guest_config(vm, flavour=flavour, network=network, certificates=certificates)
    with configured(machine, config, f"the workspace {workspace.title} did not start") as session:
        if workspace.secrets:
            from pyro_mcp.workspace.secrets.keeping import hand_over

            # Before anyone else can use it: it is not recorded as started yet.
            hand_over(engine.paths, workspace, session)
        if egress is not None:
            egress.wait_ready()
