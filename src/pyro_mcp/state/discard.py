"""Taking a VM away: its processes, its files, its record, in this order.

Owns the one way in which VMs vanish; it can be interrupted anywhere and done again. Refuses to signal a process that is
not surely the VM's: pid, start time and boot are compared, or the VM's unguessable id stands in its arguments.
The caller holds the VM's lock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.process.identity import ProcessIdentity, all_processes, boot_id
from pyro_mcp.model.states import VmState
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.store import this_process

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.state.store import Store

_MAX_COMMAND_LINE_BYTES = 256 * 1024


def discard_vm(store: Store, paths: Paths, vm: Vm) -> None:
    """End the VM, remove its files, and forget it.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; PERMISSION and others. The VM is then `deleting`, and the next
            attempt goes on from there.
    """
    store.vms.update(vm.id, lambda now: replace(now, state=VmState.DELETING, owner=this_process()))
    fault_point("delete.marked")
    end_machine(vm.id, vm.machine)
    fault_point("delete.ended")
    remove_files(paths, vm.id)
    fault_point("delete.removed")
    store.vms.delete(vm.id)


def remove_files(paths: Paths, vm_id: str) -> None:
    """Remove both directories of a VM."""
    files = VmFiles.of(paths, vm_id)
    remove_tree(files.runtime)
    fault_point("delete.half_removed")
    remove_tree(files.directory)


def is_running(machine: MachineRecord) -> bool:
    """Say whether the machine's VMM runs."""
    return ProcessIdentity(machine.vmm_pid, machine.vmm_start_time, machine.boot_id).is_running()


def end_machine(vm_id: str, machine: MachineRecord | None) -> None:
    """End every process of a VM; without a record they are found by the VM's id.

    Raises:
        PyroError: TIMEOUT if one survives SIGKILL.
    """
    if machine is None:
        for found in processes_naming(vm_id):
            process.kill(found.pid, found.start_time, tree=True)
        return
    if machine.boot_id != boot_id():
        return
    # The VMM first: its keeper then has nothing left to outlive.
    process.kill(machine.vmm_pid, machine.vmm_start_time)
    process.kill(machine.keeper_pid, machine.keeper_start_time, tree=True)


def processes_naming(vm_id: str) -> list[ProcessIdentity]:
    """Return the processes in whose arguments the VM's id stands: its keeper, and what that started.

    Callers of `pyro` name a VM too (`pyro vm delete ID`), so only a keeper counts: its own arguments say that it is one.
    """
    found: list[ProcessIdentity] = []
    for each in all_processes():
        if each.is_dead or each.pid == os.getpid():
            continue
        arguments = _arguments(each.pid)
        if any(vm_id in argument for argument in arguments) and is_keeper(arguments):
            found.append(ProcessIdentity(each.pid, each.start_time, boot_id()))
    return found


def is_keeper(arguments: list[str]) -> bool:
    """Say whether these are the arguments of a VM's keeper or VMM."""
    return any("pyro-keeper" in argument or argument.endswith("keeper.sh") for argument in arguments)


def _arguments(pid: int) -> list[str]:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return os.fsdecode(file.read(_MAX_COMMAND_LINE_BYTES)).split("\0")
    return []
