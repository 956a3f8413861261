"""Reconcile the store with reality, at the start of each operation.

This handles VMs that have expired, whose owner died or whose machine ended, and directories without rows or vice versa;
workspaces are passed to `workspace_reconcile` if necessary. Objects locked by another process, unknown names, and
processes that do not certainly belong to a VM are not touched. If there is nothing to do, it costs two queries and four
directory listings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never, cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import remove_tree, sweep_staged
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.process import boot_id, reap_detached
from pyro_mcp.model.ids import is_vm_id, is_workspace_id
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Owner, Vm
from pyro_mcp.state.clock import Clock
from pyro_mcp.state.copies import read_copy
from pyro_mcp.state.discard import discard_vm, end_machine, is_cut_off, is_running, last_words, remove_files
from pyro_mcp.state.filenames import DELETED, VmFiles
from pyro_mcp.state.locks import vm_lock
from pyro_mcp.state.quarantine import quarantine
from pyro_mcp.state.store import is_alive

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.state.clock import Clock
    from pyro_mcp.state.store import Store
    from pyro_mcp.state.workspace_reconcile import WorkspaceReconciler

    Watch = Callable[[Workspace, Vm], None]

_STABLE = {"stopped", "failed"}
# A killed process keeps its locks until its last thread has left the kernel, and one may be syncing a disk.
_DYING_S = 1.0


def reconcile(store: Store, paths: Paths, clock: Clock, notice: Callable[[str], None], watch: Watch) -> list[str]:
    """Make the store consistent with running processes and files; return the ids of the deleted VMs.

    `watch` restarts the watcher of a workspace's VM if it was killed. Anything that another process has locked, or that
    fails, is left for the next time; failures are reported to `notice`.

    Raises:
        PyroError: if the store itself can't be used.
    """
    store.refresh()
    reap_detached()
    return _Reconciliation(store, paths, clock, notice, watch).make()


def restore_workspaces(store: Store, paths: Paths, clock: Clock, notice: Callable[[str], None], watch: Watch) -> None:
    """Restore unreadable records of workspaces, which `reconcile` does not find.

    Raises:
        PyroError: if the store itself can't be used.
    """
    _Reconciliation(store, paths, clock, notice, watch).restore_damaged()


@dataclass(frozen=True, slots=True)
class _Reconciliation:
    """One reconciliation."""

    store: Store
    paths: Paths
    clock: Clock
    notice: Callable[[str], None]
    watch: Watch

    def make(self) -> list[str]:
        vms, damaged = self.store.vms.all()
        rows = self.store.attention_rows()
        self._look_after_workspaces(vms, rows)
        claimed = {row["vm_id"] for row in rows}
        deleted = [
            vm.id
            for vm in vms
            if self._judge(vm, is_claimed=vm.id in claimed) is not Verdict.LEAVE and self._attempt(self._settle, vm.id)
        ]
        for vm_id in damaged:
            self._attempt(self._drop_damaged, vm_id)
        for vm_id in self._directories() - {vm.id for vm in vms} - set(damaged):
            self._attempt(self._settle_stray, vm_id)
        sweep_staged(self.paths.tmp)
        return deleted

    def _attempt(self, step: Callable[[str], bool], vm_id: str, *, timeout_s: float = 0) -> bool:
        """Run one step under the VM's lock. A failure does not keep the others from being reconciled."""
        try:
            with vm_lock(self.paths, vm_id, timeout_s=timeout_s):
                return step(vm_id)
        except PyroError as error:
            if error.code is not ErrorCode.BUSY:
                self.notice(f"could not clean up {vm_id}: {error.message}")
            return False

    def _look_after_workspaces(self, vms: list[Vm], rows: list[sqlite3.Row]) -> None:
        by_id = {vm.id: vm for vm in vms}
        needy = {
            str(row["id"]): 0.0 if row["owner_pid"] is None else _DYING_S
            for row in rows
            if self._needs_something(row, by_id.get(row["vm_id"]))
        }
        names = self._names(self.paths.workspaces, lambda name: is_workspace_id(name.removeprefix(DELETED)))
        deleted = {name.removeprefix(DELETED) for name in names if name.startswith(DELETED)}
        strays = {name for name in names if not name.startswith(DELETED)} - {str(row["id"]) for row in rows}
        if not needy and not strays and not deleted:
            return
        reconciler = self._reconciler()
        for workspace_id in deleted:
            self._attempt(lambda each: _done(reconciler.finish_deletion(each)), workspace_id)
            needy.pop(workspace_id, None)
        for workspace_id, timeout_s in needy.items():
            self._attempt(lambda each: self._settle_workspace(reconciler, each), workspace_id, timeout_s=timeout_s)
        for workspace_id in strays:
            self._attempt(lambda each: _done(reconciler.settle_stray(each)), workspace_id)

    def restore_damaged(self) -> None:
        reconciler = self._reconciler()
        for workspace_id in self.store.workspaces.all()[1]:
            self._attempt(lambda each: _done(reconciler.drop_damaged(each)), workspace_id, timeout_s=_DYING_S)

    def _reconciler(self) -> WorkspaceReconciler:
        from pyro_mcp.state.workspace_reconcile import WorkspaceReconciler

        return WorkspaceReconciler(self.store, self.paths, self.clock, self.notice, self.watch)

    def _settle_workspace(self, reconciler: WorkspaceReconciler, workspace_id: str) -> bool:
        try:
            reconciler.settle(workspace_id)
        except PyroError as error:
            if error.code is not ErrorCode.CORRUPT:
                raise
            reconciler.drop_damaged(workspace_id)
        return True

    def _needs_something(self, row: sqlite3.Row, vm: Vm | None) -> bool:
        """Return whether a workspace needs to be settled."""
        if row["owner_pid"] is not None:
            return not _owner_lives(row)
        if row["state"] in _STABLE:
            return False
        if row["state"] != "started" or vm is None or vm.machine is None or not is_running(vm.machine):
            return True
        # Overdue by so much that its watcher, which normally handles expiry, must be dead.
        return row["boot_id"] == self.clock.boot_id() and self.clock.boottime_s() >= row["deadline_boottime_s"]

    def _judge(self, vm: Vm, *, is_claimed: bool) -> Verdict:
        return judge(vm, self.clock, is_alive=is_alive, is_running=is_running, is_claimed=is_claimed)

    def _settle(self, vm_id: str) -> bool:
        """Do what the VM needs, after judging it again under its lock."""
        vm = self.store.vms.find(vm_id)
        if vm is None:
            return False
        verdict = self._judge(vm, is_claimed=bool(vm.workspace_id) and self.store.is_claimed(vm.id))
        fault_point(f"reconcile.{verdict.value}")
        match verdict:
            case Verdict.LEAVE:
                return False
            case Verdict.DELETE:
                discard_vm(self.store, self.paths, vm)
                return True
            case Verdict.UNDO_START:
                undo_start(self.store, self.paths, vm)
            case Verdict.FINISH_STOP:
                end_machine(vm.id, vm.machine, keeps_disk=True)
                remove_tree(VmFiles(self.paths, vm.id).runtime)
                self._stopped(vm, StopReason.USER)
            case Verdict.MARK_LOST:
                was_cut_off = is_cut_off(vm.machine)
                # Its keeper may still be writing the end of the console and cleaning up.
                end_machine(vm.id, vm.machine, keeps_disk=True)
                remove_tree(VmFiles(self.paths, vm.id).runtime)
                rebooted = vm.machine is not None and vm.machine.boot_id != boot_id()
                self._stopped(vm, StopReason.HOST_REBOOT if rebooted else StopReason.LOST, was_cut_off=was_cut_off)
            case _:
                assert_never(verdict)
        return False

    def _stopped(self, vm: Vm, reason: StopReason, *, was_cut_off: bool = False) -> None:
        # The machine stays recorded: its keeper removes the disk at the end of the lease.
        files = VmFiles(self.paths, vm.id)
        error = last_words(files, was_cut_off=was_cut_off) if reason is StopReason.LOST else ""
        self.store.vms.update(
            vm.id,
            lambda now: replace(now, state=VmState.STOPPED, stop_reason=reason, owner=None, last_error=error),
        )

    def _drop_damaged(self, vm_id: str) -> bool:
        self.store.vms.delete(vm_id)
        self.notice(f"the record of {vm_id[:40]!r} was damaged: it is restored from its copy if that is intact")
        return not is_vm_id(vm_id) or self._settle_stray(vm_id)

    def _settle_stray(self, vm_id: str) -> bool:
        """Restore a VM without a row from its copy; otherwise remove it, or move its disks to quarantine.

        Rows are written before directories are created and deleted after these are removed, so this happens only if the
        database was lost, or a removal was interrupted.
        """
        if self.store.vms.find(vm_id) is not None:
            return False
        files = VmFiles(self.paths, vm_id)
        vm = read_copy(files)
        if vm is not None and vm.workspace_id:
            # Workspaces' claims are known only after the workspaces are restored.
            if self.store.is_claimed(vm_id):
                self.store.vms.insert(vm)
                return False
        elif vm is not None and self._is_worth_keeping(vm):
            self.store.vms.insert(vm)
            self.notice(f"{vm_id} was unknown to the state database and is restored")
            return self._settle(vm_id)
        end_machine(vm_id, None if vm is None else vm.machine)
        if vm is None and files.root_disk.exists() and not files.unfinished.exists():
            aside = quarantine(self.paths, files.directory, vm_id)
            self.notice(f"the VM {vm_id} can't be identified: its disks were moved to {aside}")
        remove_files(self.paths, vm_id)
        return True

    def _is_worth_keeping(self, vm: Vm) -> bool:
        if vm.state is VmState.STARTED:
            return self._judge(vm, is_claimed=False) in {Verdict.LEAVE, Verdict.MARK_LOST}
        return vm.state is VmState.STOPPED and self.clock.remaining_s(vm.lease) > 0

    def _directories(self) -> set[str]:
        found: set[str] = set()
        for place in (self.paths.vms, self.paths.runtime_vms):
            found |= self._names(place, is_vm_id)
        return found

    def _names(self, place: Path, belongs: Callable[[str], bool]) -> set[str]:
        try:
            return {name for name in os.listdir(place) if belongs(name)}
        except FileNotFoundError:
            return set()


def undo_start(store: Store, paths: Paths, vm: Vm, error: str = "") -> None:
    """Undo an incomplete start: the VM returns to its previous state, or becomes failed with `error`.

    The caller holds the VM's lock. Until a start has succeeded, the row contains the previous machine, if any.
    """
    was_stopped = vm.stop_reason is not None
    end_machine(vm.id, vm.machine, keeps_disk=was_stopped, search=True)
    files = VmFiles(paths, vm.id)
    remove_tree(files.runtime)
    if not was_stopped:
        # A VM that never ran has at most an incomplete copy of the template's disk.
        remove_tree(files.directory)
    fault_point("start.undone")
    before = VmState.STOPPED if was_stopped else VmState.CREATED

    def undone(now: Vm) -> Vm:
        # It may already be recorded as started, if an interrupt came between that and the end of the start.
        state = VmState.FAILED if error or now.state is not VmState.STARTING else before
        return replace(now, state=state, stop_reason=vm.stop_reason, owner=None, machine=vm.machine, last_error=error)

    store.vms.update(vm.id, undone)


def _owner_lives(row: sqlite3.Row) -> bool:
    pid, started, boot = row["owner_pid"], row["owner_start_time"], row["owner_boot_id"]
    return is_alive(Owner(cast("int", pid), cast("int", started), cast("str", boot)))


def _done(nothing: None) -> bool:
    del nothing
    return True


class Verdict(StrEnum):
    """The action that a VM needs."""

    LEAVE = "leave"
    DELETE = "delete"
    UNDO_START = "undo_start"
    FINISH_STOP = "finish_stop"
    MARK_LOST = "mark_lost"


def judge(
    vm: Vm,
    clock: Clock,
    *,
    is_alive: Callable[[Owner], bool],
    is_running: Callable[[MachineRecord], bool],
    is_claimed: bool = False,
) -> Verdict:
    """Return what to do with a VM, given which processes are alive.

    An expired VM is removed, whichever process owns it. A VM owned by a living process is not touched. Unfinished work
    of a dead process is undone or completed; a one-shot VM is removed even if its command was interrupted. A VM claimed
    by its workspace is handled with the workspace; if it is no longer claimed, it is removed.
    """
    if vm.workspace_id:
        lives = is_claimed or (vm.owner is not None and is_alive(vm.owner))
        return Verdict.LEAVE if lives else Verdict.DELETE
    if clock.remaining_s(vm.lease) <= 0:
        return Verdict.DELETE
    if vm.owner is not None and is_alive(vm.owner):
        return Verdict.LEAVE
    if vm.ephemeral:
        return Verdict.DELETE
    match vm.state:
        case VmState.CREATING | VmState.DELETING:
            return Verdict.DELETE
        case VmState.STARTING:
            return Verdict.UNDO_START
        case VmState.STOPPING:
            return Verdict.FINISH_STOP
        case VmState.STARTED if vm.owner is not None:
            return Verdict.DELETE
        case VmState.STARTED:
            return Verdict.LEAVE if vm.machine is not None and is_running(vm.machine) else Verdict.MARK_LOST
        case VmState.CREATED | VmState.STOPPED | VmState.FAILED:
            return Verdict.LEAVE
        case _:
            assert_never(vm.state)
