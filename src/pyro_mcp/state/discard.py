"""Remove VMs and workspaces: first their processes, then files, then records.

A removal can be interrupted anywhere and repeated. A process is signalled only if it certainly belongs to the VM: its
pid, start time and boot id match, or the VM's unguessable id is among its arguments. A disk is never removed while a VM
may still write to it. The caller holds the lock of the VM or workspace.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pyro_mcp.errors import PyroError, os_errors
from pyro_mcp.host import process
from pyro_mcp.host.console import console_end
from pyro_mcp.host.durable import fsync_dir, remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.process.identity import ProcessIdentity, all_processes, boot_id
from pyro_mcp.model.kinds import VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState, WorkspaceState
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.disk_removal import remove_disks
from pyro_mcp.state.filenames import DELETED, VmFiles, WorkspaceFiles
from pyro_mcp.state.locks import vm_lock
from pyro_mcp.state.store import Store, this_process

_MAX_COMMAND_LINE_BYTES = 256 * 1024
_KEEPER_TIMEOUT_S = 5.0


def discard_vm(store: Store, paths: Paths, vm: Vm) -> None:
    """Kill the VM, and remove its files and its record.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; PERMISSION and others. The VM is then `deleting`, and the next
            attempt continues from there.
    """
    store.vms.update(vm.id, lambda now: replace(now, state=VmState.DELETING, owner=this_process()))
    try:
        fault_point("delete.marked")
        end_machine(vm.id, vm.machine)
        fault_point("delete.ended")
        remove_files(paths, vm.id)
        fault_point("delete.removed")
        store.vms.delete(vm.id)
    except BaseException:
        # This process may live long, and must not keep others from trying.
        with suppress(PyroError):
            store.vms.update(vm.id, lambda now: replace(now, owner=None))
        raise


def remove_files(paths: Paths, vm_id: str) -> None:
    """Remove both directories of a VM, and end the processes in their records."""
    files = VmFiles(paths, vm_id)
    if files.services.exists():
        from pyro_mcp.state.service_records import end_publishers

        # They end with their guest by themselves, unless something keeps them from it.
        end_publishers(files)
    remove_tree(files.runtime)
    fault_point("delete.half_removed")
    remove_tree(files.directory)


def is_running(machine: MachineRecord) -> bool:
    """Return whether the machine's VMM is running and reachable."""
    return _has_vmm(machine) and os.path.isdir(machine.runtime_dir)


def is_cut_off(machine: MachineRecord | None) -> bool:
    """Return whether the VMM is running but unreachable, because its sockets were removed, for example at logout."""
    return machine is not None and _has_vmm(machine) and not os.path.isdir(machine.runtime_dir)


def _has_vmm(machine: MachineRecord) -> bool:
    return ProcessIdentity(machine.vmm_pid, machine.vmm_start_time, machine.boot_id).is_running()


def end_machine(vm_id: str, machine: MachineRecord | None, *, keeps_disk: bool = False, search: bool = False) -> None:
    """Kill the processes of a VM.

    With `keeps_disk`, the process that removes the disk at the end of the lease is kept. Without a record, or with
    `search` for processes that the record does not contain yet, they are found by the VM's id.

    Raises:
        PyroError: TIMEOUT if one survives SIGKILL.
    """
    known = machine is not None and machine.boot_id == boot_id()
    remover = machine.remover if machine is not None and known else (0, 0)
    if machine is not None and known:
        # Only the VMM first: its keeper then writes the end of the console and cleans up by itself.
        # With host compat, commands have no PID namespace that would end with the agent.
        _kill(machine.vmm_pid, machine.vmm_start_time, tree=machine.kind is VmmKind.HOST)
        keeper = (machine.keeper_pid, machine.keeper_start_time)
        if keeper[0] > 0 and not process.wait_for_exit(*keeper, timeout_s=_KEEPER_TIMEOUT_S):
            _kill(*keeper, tree=True)
        _kill(*machine.earlier_remover, tree=True)
        if not keeps_disk:
            _kill(*remover, tree=True)
    if search or machine is None:
        for found in processes_naming(vm_id):
            if not (keeps_disk and (found.pid, found.start_time) == remover):
                _kill(found.pid, found.start_time, tree=True)
    process.reap_detached()


def _kill(pid: int, start_time: int, *, tree: bool = False) -> None:
    # 0 means that the process is unknown; some system calls would interpret it as the calling process.
    if pid > 0:
        process.kill(pid, start_time, tree=tree)


def processes_naming(vm_id: str) -> list[ProcessIdentity]:
    """Return the processes that have the VM's id in their arguments: its keeper, and that one's children.

    Other processes may also have a VM's id in their arguments, so only keepers count, which are recognizable.
    """
    found: list[ProcessIdentity] = []
    for each in all_processes():
        arguments = _arguments(each.pid)
        if is_keeper(arguments) and any(vm_id in argument for argument in arguments) and not each.is_dead:
            found.append(ProcessIdentity(each.pid, each.start_time, boot_id()))
    return found


def is_keeper(arguments: list[str]) -> bool:
    """Return whether these are the arguments of a VM's keeper, remover or watcher (see `vmm.keeper`, `vmm.watcher`)."""
    return len(arguments) > 1 and arguments[1].endswith(("/keeper.sh", "/watcher.sh"))


def _arguments(pid: int) -> list[str]:
    """Return the arguments of one of this user's processes."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        if os.fstat(file.fileno()).st_uid == os.geteuid():
            return os.fsdecode(file.read(_MAX_COMMAND_LINE_BYTES)).split("\0")
    return []


def discard_workspace(store: Store, paths: Paths, workspace: Workspace) -> None:
    """Kill the workspace's VMs, and durably remove its files and its record.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; PERMISSION and others. It is then `deleting`, and the next
            attempt continues from there.
    """
    store.workspaces.update(
        workspace.id,
        lambda now: replace(now, state=WorkspaceState.DELETING, owner=this_process(), vm_id="", expires_at=None),
        durable=True,
    )
    try:
        fault_point("ws_delete.marked")
        discard_vms(store, paths, workspace.id)
        fault_point("ws_delete.ended")
        deleted = mark_deleted(paths, workspace.id)
        fault_point("ws_delete.renamed")
        store.workspaces.delete(workspace.id)
        fault_point("ws_delete.forgotten")
        remove_disks(deleted)
    except BaseException:
        # This process may live long, and must not keep others from trying.
        with suppress(PyroError):
            store.workspaces.update(workspace.id, lambda now: replace(now, owner=None))
        raise


def mark_deleted(paths: Paths, workspace_id: str) -> Path:
    """Durably rename a workspace's directory to mark it as deleted, and return the new path.

    Raises:
        PyroError: PERMISSION and others.
    """
    deleted = paths.workspaces / f"{DELETED}{workspace_id}"
    with os_errors(f"delete the files of {workspace_id}"), suppress(FileNotFoundError):
        os.rename(WorkspaceFiles(paths, workspace_id).directory, deleted)
        fsync_dir(paths.workspaces)
    return deleted


def discard_vms(store: Store, paths: Paths, workspace_id: str, *, but: str = "") -> None:
    """Kill the VMs that were started for a workspace, except `but`, and remove their records.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; BUSY, PERMISSION and others.
    """
    for vm_id in store.vms.ids_of_workspace(workspace_id):
        if vm_id != but:
            discard_vm_if_there(store, paths, vm_id)


def discard_vm_if_there(store: Store, paths: Paths, vm_id: str) -> None:
    """Kill and remove a VM that another process may already have removed.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; BUSY, PERMISSION and others.
    """
    with vm_lock(paths, vm_id):
        vm = store.vms.find(vm_id)
        if vm is not None:
            discard_vm(store, paths, vm)


# Enough for a kernel panic with its registers and trace.
_CONSOLE_TAIL_BYTES = 4096


def last_words(files: VmFiles, *, was_cut_off: bool = False) -> str:
    """Return why the guest ended, with the end of its console output."""
    message = "the guest ended by itself"
    if was_cut_off:
        message = f"the guest was ended, since its sockets in {files.runtime} were removed"
    tail = console_end(files.console_log, _CONSOLE_TAIL_BYTES)
    return f"{message}; its console said last:\n{tail}" if tail else message
