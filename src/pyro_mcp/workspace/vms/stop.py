"""Stop a VM: its guest powers off, and its disk is kept until its time is up. No VM is left half stopped."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pyro_mcp.errors import PyroError
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.ids import parse_vm_id
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import end_machine
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.locks import vm_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.power_off import power_off
from pyro_mcp.workspace.vms.status import get_vm

_RUNNING = {VmState.STARTED, VmState.STOPPING}


def stop_vm(engine: Engine, vm_id: str) -> Vm:
    """Stop a VM and return it. One that is not running is left unchanged. A running command is lost.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; TIMEOUT if its VMM survives SIGKILL.
    """
    engine.use_reserve()
    engine.reconcile()
    with vm_lock(engine.paths, parse_vm_id(vm_id)):
        vm = get_vm(engine, vm_id)
        machine = vm.machine
        if vm.state not in _RUNNING or machine is None:
            return vm
        vm = engine.store.vms.update(vm_id, lambda now: replace(now, state=VmState.STOPPING, owner=this_process()))
        fault_point("stop.marked")
        power_off(engine, machine)
        fault_point("stop.powered_off")
        end_machine(vm_id, machine, keeps_disk=True)
        files = VmFiles(engine.paths, vm_id)
        remove_tree(files.runtime)
        fault_point("stop.ended")
        stopped = replace(vm, state=VmState.STOPPED, stop_reason=StopReason.USER, owner=None, network=None)
        with suppress(PyroError):
            # Only needed if the database is lost, and a full disk must not prevent a stop.
            write_copy(files, stopped)
        return engine.store.vms.update(vm_id, lambda _: stopped)
