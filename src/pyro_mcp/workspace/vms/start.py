"""Start a VM that was created or stopped.

A start that fails restores the previous state. A VM that another process works on is an error.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.states import VmState
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import end_machine
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.locks import vm_lock
from pyro_mcp.state.reconcile import undo_start
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.certificates import kept_certificates
from pyro_mcp.workspace.machines.boot import configured
from pyro_mcp.workspace.machines.images import Images, images_of
from pyro_mcp.workspace.machines.launch import egress_of, guest_config, launch
from pyro_mcp.workspace.machines.selection import choose, demands_of
from pyro_mcp.workspace.machines.spec import StartPlan
from pyro_mcp.workspace.vms.status import get_vm

if TYPE_CHECKING:
    from pyro_mcp.host.network import Egress
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.engine import Engine


def start_vm(engine: Engine, vm_id: str) -> Vm:
    """Start a VM and return it. A running one is left unchanged.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; any reason why it can't start.
    """
    engine.reconcile()
    vm = get_vm(engine, vm_id)
    if vm.state is VmState.STARTED:
        return vm
    engine.progress.phase("start", f"vm_id={vm.id}")
    choice = choose(engine, demands_of(vm))
    images = images_of(engine, vm) if choice.is_guest else None
    with vm_lock(engine.paths, vm.id):
        vm = engine.store.vms.update(vm.id, _starting)
        if vm.state is VmState.STARTED:
            return vm
        before = vm.machine
        left_behind = (0, 0) if before is None else before.remover
        try:
            fault_point("start.marked")
            if before is not None:
                # Its keeper may still be removing the directory that the new machine is about to use.
                end_machine(vm.id, before, keeps_disk=True)
            vm = _start(engine, vm, choice, images, left_behind)
        except BaseException as error:
            undo_start(engine.store, engine.paths, vm, error.message if isinstance(error, PyroError) else "")
            raise
        # The process that waits for the lease to expire to remove the disk: the new machine has its own.
        if left_behind[0]:
            process.kill(*left_behind, tree=True)
        return vm


def _starting(now: Vm) -> Vm:
    if now.state is VmState.STARTED:
        return now
    return replace(now, state=VmState.STARTING, owner=this_process(), last_error="")


def _start(engine: Engine, vm: Vm, choice: Selection, images: Images | None, left_behind: tuple[int, int]) -> Vm:
    flavour = Flavour.FRESH if vm.stop_reason is None else Flavour.ATTACH
    with ExitStack() as stack:
        egress = stack.enter_context(egress_of(engine, vm))
        machine = launch(engine, StartPlan(vm, choice, images, flavour), egress)
        stack.callback(machine.close)
        with ExitStack() as failed:
            failed.callback(machine.kill)
            certificates = kept_certificates(VmFiles(engine.paths, vm.id).certificates, vm.id, expected=False)
            network = None if egress is None else egress.guest
            config = guest_config(vm, flavour=flavour, network=network, certificates=certificates)
            with configured(machine, config, f"{vm.id} did not start"):
                if egress is not None:
                    egress.wait_ready()
            fault_point("start.configured")
            record = replace(machine.record, earlier_remover=left_behind)
            started = partial(_started, choice=choice, images=images, record=record, egress=egress)
            files = VmFiles(engine.paths, vm.id)
            write_copy(files, started(vm))
            files.unfinished.unlink(missing_ok=True)
            vm = engine.store.vms.update(vm.id, started)
            fault_point("start.recorded")
            failed.pop_all()
    return vm


def _started(now: Vm, *, choice: Selection, images: Images | None, record: MachineRecord, egress: Egress | None) -> Vm:
    return replace(
        now,
        state=VmState.STARTED,
        owner=None,
        stop_reason=None,
        machine=record,
        execution_mode=choice.execution_mode,
        isolation=choice.isolation,
        boot_digest="" if images is None else images.boot.digest,
        network=None if egress is None else egress.guest.to_json(),
    )
