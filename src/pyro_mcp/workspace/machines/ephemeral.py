"""VMs that exist only for a block of code: those of runs, and those that templates are made from.

Such a VM is recorded before it exists and removed when the block ends. If this process is killed, the record tells that
its owner is dead, and the next operation removes it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.states import VmState
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import discard_vm_if_there
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.machines.images import recorded

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.model.vm import Vm
    from pyro_mcp.vmm.driver import Machine
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.images import Images


@contextmanager
def ephemeral_vm(engine: Engine, vm: Vm, images: Images | None) -> Generator[Vm]:
    """Record `vm` as starting and owned by this process, and delete it at the end of the block.

    Raises:
        PyroError: any error while recording or deleting it.
    """
    own = replace(vm, state=VmState.STARTING, owner=this_process(), ephemeral=True)
    try:
        own = recorded(engine, images, own)
        fault_point("passing.recorded")
        yield own
    finally:
        # Its time may have run out: then another process may have deleted it.
        delete_if_there(engine, own.id)


def record_machine(engine: Engine, vm: Vm, machine: Machine, choice: Selection) -> Vm:
    """Record the VM's machine, so that any process can remove it.

    Raises:
        PyroError: NOT_FOUND if its time is up; NO_SPACE and others.
    """
    started = partial(
        replace,
        state=VmState.STARTED,
        machine=machine.record,
        execution_mode=choice.execution_mode,
        isolation=choice.isolation,
    )
    write_copy(VmFiles(engine.paths, vm.id), started(vm))
    vm = engine.store.vms.update(vm.id, started)
    fault_point("passing.machine_recorded")
    return vm


def delete_if_there(engine: Engine, vm_id: str) -> None:
    """Delete a VM that may already be gone. An interrupt (Ctrl-C) is raised afterwards.

    Raises:
        PyroError: as `delete_vm`.
    """
    try:
        discard_vm_if_there(engine.store, engine.paths, vm_id)
    except KeyboardInterrupt:
        discard_vm_if_there(engine.store, engine.paths, vm_id)
        raise
