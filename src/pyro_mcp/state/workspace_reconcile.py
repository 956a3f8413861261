"""Reconcile one workspace's record with its processes and files.

This handles workspaces whose owner died, whose machine ended, or that have only a row or only a directory. Only files
marked as unfinished or deleted are removed; a directory that can't be identified is moved to quarantine. The caller
holds the workspace's lock. Imported only if there is something to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.process import boot_id
from pyro_mcp.host.process.identity import ProcessIdentity
from pyro_mcp.model.ids import is_vm_id, is_workspace_id
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Snapshot, Workspace
from pyro_mcp.state.clock import Clock
from pyro_mcp.state.copies import read_copy, read_workspace_copy, write_workspace_copy
from pyro_mcp.state.discard import (
    discard_vm_if_there,
    discard_vms,
    discard_workspace,
    end_machine,
    is_cut_off,
    is_running,
    last_words,
    mark_deleted,
)
from pyro_mcp.state.disk_removal import remove_disks
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.state.quarantine import quarantine
from pyro_mcp.state.store import Store, is_alive
from pyro_mcp.state.unclean import Flush, flush_of, unclean_end
from pyro_mcp.state.workspace_files import snapshots_on_disk, sweep_workspace


@dataclass(frozen=True, slots=True)
class WorkspaceReconciler:
    """Reconciles workspaces. `watch` starts the watcher that stops a workspace's VM when it expires."""

    store: Store
    paths: Paths
    clock: Clock
    notice: Callable[[str], None]
    watch: Callable[[Workspace, Vm], None]

    def settle(self, workspace_id: str) -> None:
        """Do what the workspace needs, judged under its lock.

        Raises:
            PyroError: the errors of ending processes or removing files.
        """
        workspace = self.store.workspaces.find(workspace_id)
        if workspace is None or (workspace.owner is not None and is_alive(workspace.owner)):
            return
        fault_point(f"ws_reconcile.{workspace.state.value}")
        match workspace.state:
            case WorkspaceState.CREATING | WorkspaceState.DELETING:
                discard_workspace(self.store, self.paths, workspace)
            case WorkspaceState.STARTING:
                self._tidy(workspace)
                self._become(workspace, WorkspaceState.STOPPED)
            case WorkspaceState.STARTED | WorkspaceState.STOPPING | WorkspaceState.RESETTING:
                self._settle_running(workspace)
            case WorkspaceState.STOPPED | WorkspaceState.FAILED:
                if workspace.owner is not None:
                    self._tidy(workspace)
                    self._become(workspace, workspace.state)
            case _:
                assert_never(workspace.state)

    def _settle_running(self, workspace: Workspace) -> None:
        vm = self.store.vms.find(workspace.vm_id) if workspace.vm_id else None
        if vm is not None and vm.machine is not None and is_running(vm.machine):
            if workspace.owner is not None or workspace.state is not WorkspaceState.STARTED:
                self._tidy(workspace)
                self._become(workspace, WorkspaceState.STARTED)
            if is_overdue(workspace, self.clock) and not _is_watched(vm):
                self.watch(workspace, vm)
            return
        if workspace.vm_id:
            self.mark_ended(workspace, vm)
        else:
            # A reset of a workspace that was not running.
            self._tidy(workspace)
            self._become(workspace, WorkspaceState.STOPPED)

    def mark_ended(self, workspace: Workspace, vm: Vm | None) -> None:
        """Record that the workspace's machine ended by itself, with its last output, and remove its VM."""
        error = ""
        reason = StopReason.HOST_REBOOT
        rebooted = workspace.boot_id != boot_id()
        if workspace.state is WorkspaceState.STOPPING:
            reason = StopReason.USER
        elif not rebooted:
            reason = StopReason.LOST
        if vm is not None:
            was_cut_off = is_cut_off(vm.machine)
            # Its keeper may still be writing the end of the console.
            end_machine(vm.id, vm.machine)
            if reason is StopReason.LOST:
                error = last_words(VmFiles(self.paths, vm.id), was_cut_off=was_cut_off)
        flush = Flush.NONE if vm is None else flush_of(VmFiles(self.paths, vm.id).flush)
        if flush is Flush.DONE:
            error = ""
        elif reason is not StopReason.USER and not workspace.is_host_compat:
            disk = WorkspaceFiles(self.paths, workspace.id).workspace_disk(workspace.life)
            if flush is Flush.BEGUN:
                error = "the guest was told to end, as when the host shuts down, and did not write its disks in time"
            first, _, console = (error or "the host ended while the guest ran").partition(";")
            error = unclean_end(first, disk) + (f";{console}" if console else "")
        self._become(workspace, WorkspaceState.STOPPED, stop_reason=reason, last_error=error)
        if vm is not None:
            discard_vm_if_there(self.store, self.paths, vm.id)
        self._tidy(replace(workspace, vm_id=""))

    def _become(
        self,
        workspace: Workspace,
        state: WorkspaceState,
        *,
        stop_reason: StopReason | None = None,
        last_error: str | None = None,
    ) -> None:
        def settled(now: Workspace) -> Workspace:
            after = replace(now, state=state, owner=None)
            if state is not WorkspaceState.STARTED:
                after = replace(after, vm_id="", expires_at=None)
                if stop_reason is not None:
                    after = replace(after, stop_reason=stop_reason)
            return after if last_error is None else replace(after, last_error=last_error)

        after = self.store.workspaces.update(workspace.id, settled)
        self._copy(after)

    def _tidy(self, workspace: Workspace) -> None:
        discard_vms(self.store, self.paths, workspace.id, but=workspace.vm_id)
        sweep_workspace(self.store, self.paths, workspace, self.notice, can_adopt=not workspace.vm_id)

    def _copy(self, workspace: Workspace) -> None:
        try:
            snapshots = self.store.workspaces.snapshots(workspace.id)
            write_workspace_copy(WorkspaceFiles(self.paths, workspace.id), workspace, snapshots)
        except PyroError as error:
            # It is needed only if the database is lost, so a full disk must not block reads.
            if error.code not in {ErrorCode.NO_SPACE, ErrorCode.NOT_FOUND, ErrorCode.PERMISSION}:
                raise

    def drop_damaged(self, workspace_id: str) -> None:
        """Replace an unreadable row by its copy, or move the workspace's directory to quarantine.

        Raises:
            PyroError: PERMISSION and others.
        """
        if not is_workspace_id(workspace_id):
            self.store.workspaces.delete(workspace_id)
            return
        files = WorkspaceFiles(self.paths, workspace_id)
        known = read_workspace_copy(files)
        if known is None:
            self._set_aside(files, "its record is damaged, and so is the copy")
            self.store.workspaces.delete(workspace_id)
            return
        self.store.workspaces.delete(workspace_id)
        self._take_up(*known)
        self.notice(f"the record of the workspace {known[0].title} was damaged: it was restored from its copy")

    def settle_stray(self, workspace_id: str) -> None:
        """Restore a workspace without a row, or remove the remains of an incomplete creation.

        Rows are written before directories are created, and deleted after these are renamed, so the database was lost,
        or has lost its last transactions.

        Raises:
            PyroError: PERMISSION and others.
        """
        if self.store.workspaces.find(workspace_id) is not None:
            return
        files = WorkspaceFiles(self.paths, workspace_id)
        if files.unfinished.exists() or _holds_nothing(files.directory):
            discard_vms(self.store, self.paths, workspace_id)
            remove_disks(mark_deleted(self.paths, workspace_id))
            return
        known = read_workspace_copy(files)
        if known is None:
            self._set_aside(files, "its record can't be read")
            return
        self._take_up_vm(known[0].vm_id)
        self._take_up(*known)
        self.notice(
            f"the workspace {known[0].title} was unknown to the state database and is restored;"
            " the history of its commands is lost"
        )
        self.settle(workspace_id)

    def finish_deletion(self, workspace_id: str) -> None:
        """Remove the remains of a workspace whose directory is marked as deleted.

        Raises:
            PyroError: TIMEOUT if a process survives SIGKILL; PERMISSION and others.
        """
        discard_vms(self.store, self.paths, workspace_id)
        self.store.workspaces.delete(workspace_id)
        remove_disks(mark_deleted(self.paths, workspace_id))

    def _take_up(self, workspace: Workspace, snapshots: list[Snapshot]) -> None:
        name = workspace.name
        for attempt in (workspace, replace(workspace, name=None)):
            try:
                self.store.workspaces.insert(replace(attempt, command_count=0, owner=None))
                break
            except PyroError as error:
                if error.code is not ErrorCode.CONFLICT or attempt.name is None:
                    raise
                self.notice(f"another workspace has the name {name}: {workspace.id} has lost it")
        files = WorkspaceFiles(self.paths, workspace.id)
        self.store.workspaces.put_snapshots(workspace.id, snapshots_on_disk(files, snapshots))
        sweep_workspace(self.store, self.paths, workspace, self.notice, can_adopt=not workspace.vm_id)

    def _take_up_vm(self, vm_id: str) -> None:
        if not is_vm_id(vm_id) or self.store.vms.find(vm_id) is not None:
            return
        vm = read_copy(VmFiles(self.paths, vm_id))
        if vm is not None:
            self.store.vms.insert(vm)

    def _set_aside(self, files: WorkspaceFiles, why: str) -> None:
        discard_vms(self.store, self.paths, files.workspace_id)
        aside = quarantine(self.paths, files.directory, files.workspace_id)
        if aside is not None:
            self.notice(
                f"the workspace {files.workspace_id} can't be used: {why}. It was moved to {aside};"
                " the workspace.img in there is an ext4 file system"
            )


def _holds_nothing(directory: Path) -> bool:
    """Return whether there is no file below `directory`, so that it can be removed without losing work."""
    return not any(names for _, _, names in os.walk(directory))


def is_overdue(workspace: Workspace, clock: Clock) -> bool:
    """Return whether a running workspace should have been stopped by now."""
    return workspace.boot_id == clock.boot_id() and clock.boottime_s() >= workspace.deadline_boottime_s


def _is_watched(vm: Vm) -> bool:
    if vm.machine is None:
        return False
    pid, started = vm.machine.remover
    return pid > 0 and ProcessIdentity(pid, started, vm.machine.boot_id).is_running()
