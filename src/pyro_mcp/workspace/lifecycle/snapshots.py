"""Snapshots: named checkpoints of `/workspace`, and optionally of the root file system, as whole disks.

The guest's file system is frozen while a snapshot is taken. A snapshot is listed only when it is complete and durable;
the baseline is never touched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyro_mcp.agent import AgentSession
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import fsync_dir, remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import closing_fd, open_regular
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.model.ids import new_snapshot_id
from pyro_mcp.model.limits import CONNECT_TIMEOUT_S
from pyro_mcp.model.naming import check_snapshot_name
from pyro_mcp.model.states import WorkspaceState, workspace_conflict
from pyro_mcp.model.workspace import BASELINE, ReviewEvent, ReviewKind, Snapshot, Workspace
from pyro_mcp.state.copies import write_snapshot_record
from pyro_mcp.state.discard import is_running
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import be_active, put_event
from pyro_mcp.state.locks import using_workspace, workspace_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.state.workspace_files import (
    has_unknown_snapshots,
    hide_snapshot,
    remove_snapshot_files,
    sweep_workspace,
)
from pyro_mcp.state.workspaces import insert_snapshot, remove_snapshot
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.host_tree import copy_tree, sync_tree
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.machines.disks import BackgroundWork, copy_disk, require_space

_BLOCK_BYTES = 512
_QUIET_STATES = {WorkspaceState.STARTED, WorkspaceState.STOPPED, WorkspaceState.FAILED}


def create_snapshot(engine: Engine, handle: str, name: str, *, with_root: bool = False) -> Snapshot:
    """Take a snapshot of a workspace, running or stopped, and return it. `with_root` includes the root file system.

    Raises:
        PyroError: NOT_FOUND; UNSUPPORTED for a root without a guest; INVALID for the name; CONFLICT if the name is
            taken, or the workspace is being reset or deleted; NO_SPACE; BUSY if another process works on it;
            GUEST_LOST, TIMEOUT if the guest's file system can't be frozen.
    """
    check_snapshot_name(name)
    engine.reconcile()
    workspace_id = find_workspace(engine, handle).id
    with using_workspace(engine.paths, workspace_id), workspace_lock(engine.paths, workspace_id):
        workspace = engine.store.workspaces.get(workspace_id)
        if workspace.state not in _QUIET_STATES:
            raise workspace_conflict(workspace.title, workspace.state, "can't be copied meanwhile")
        if with_root and workspace.is_host_compat:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"the workspace {workspace.title} has no root file system of its own",
                hint="Take the snapshot without the root: its commands run on this host.",
            )
        if engine.store.workspaces.find_snapshot(workspace_id, name) is not None:
            raise _taken(workspace, name)
        engine.progress.phase("snapshot", f"workspace_id={workspace_id} name={name}")
        # With an owner, staged files are removed if this process dies.
        workspace = engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=this_process()))
        try:
            fault_point("ws_snapshot.marked")
            return _taken_now(engine, workspace, name, with_root=with_root)
        finally:
            engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=None))


def list_snapshots(engine: Engine, handle: str) -> tuple[Snapshot, ...]:
    """Return a workspace's snapshots, the baseline first, then by age.

    Raises:
        PyroError: NOT_FOUND.
    """
    workspace = find_workspace(engine, handle)
    files = WorkspaceFiles(engine.paths, workspace.id)
    known = engine.store.workspaces.snapshots(workspace.id)
    if has_unknown_snapshots(files, known):
        _restore(engine, workspace.id)
        known = engine.store.workspaces.snapshots(workspace.id)
    baseline = files.baseline_tree if workspace.is_host_compat else files.baseline_disk
    first = Snapshot(BASELINE, BASELINE, workspace.created_at, _size_of(baseline))
    return (first, *known)


def _restore(engine: Engine, workspace_id: str) -> None:
    """Restore damaged or lost snapshot records from the copies beside the snapshots."""
    try:
        with workspace_lock(engine.paths, workspace_id, timeout_s=0):
            engine.store.workspaces.forget_damaged_snapshots(workspace_id)
            now = engine.store.workspaces.get(workspace_id)
            sweep_workspace(engine.store, engine.paths, now, engine.notice)
    except PyroError as error:
        # Another process is taking a snapshot, perhaps the same one.
        if error.code is not ErrorCode.BUSY:
            raise


def delete_snapshot(engine: Engine, handle: str, name: str) -> None:
    """Delete a snapshot.

    Raises:
        PyroError: NOT_FOUND for the workspace or the snapshot; CONFLICT for the baseline; BUSY if another process works
            on it.
    """
    workspace_id = find_workspace(engine, handle).id
    if name == BASELINE:
        raise PyroError(
            ErrorCode.CONFLICT, f"the {BASELINE} can't be deleted", hint="It is deleted with the workspace."
        )
    with workspace_lock(engine.paths, workspace_id):
        workspace = engine.store.workspaces.get(workspace_id)
        snapshot = find_snapshot(engine, workspace, name)
        event = ReviewEvent(ReviewKind.SNAPSHOT, {"name": name, "deleted": True})
        files = WorkspaceFiles(engine.paths, workspace_id)

        def forget(connection: sqlite3.Connection) -> None:
            remove_snapshot(connection, workspace_id, name)
            be_active(connection, workspace_id, engine.clock)
            put_event(connection, workspace_id, event, engine.clock)

        # With an owner, the files are removed even if this process dies first.
        engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=this_process()))
        try:
            # The mark alone deletes it if the power fails before the transaction is durable.
            hide_snapshot(files, snapshot.id)
            fault_point("ws_snapshot.hidden")
            engine.store.workspaces.update(workspace_id, lambda now: now, also=forget, durable=True)
            fault_point("ws_snapshot.forgotten")
            remove_snapshot_files(files, snapshot.id)
            fault_point("ws_snapshot.removed")
        finally:
            engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=None))


def find_snapshot(engine: Engine, workspace: Workspace, name: str) -> Snapshot:
    """Return a snapshot of a workspace.

    Raises:
        PyroError: NOT_FOUND.
    """
    snapshot = engine.store.workspaces.find_snapshot(workspace.id, name)
    if snapshot is None:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the workspace {workspace.title} has no snapshot {name[:80]!r}",
            hint="`pyro workspace snapshot list` lists its snapshots.",
            details={"workspace_id": workspace.id},
        )
    return snapshot


def _taken_now(engine: Engine, workspace: Workspace, name: str, *, with_root: bool) -> Snapshot:
    files = WorkspaceFiles(engine.paths, workspace.id)
    ensure_private_dir(files.snapshots)
    snapshot_id = new_snapshot_id()
    if workspace.is_host_compat:
        source, target = files.workspace_tree(workspace.life), files.snapshot_tree(snapshot_id)
    else:
        source, target = files.workspace_disk(workspace.life), files.snapshot_disk(snapshot_id)
    # The disk of `/workspace` comes last: if it exists, the snapshot is complete.
    copies = [(source, target)]
    if with_root:
        copies.insert(0, (files.root_disk(workspace.life), files.snapshot_root(snapshot_id)))
    require_space(files.snapshots, sum(_size_of(source) for source, _ in copies))
    staged = [target.with_name(f"{target.name}.new") for _, target in copies]
    try:
        with ExitStack() as stack:
            if workspace.is_host_compat:
                # Nothing can hold the host's own processes still.
                copy_tree(source, staged[0])
                syncing = stack.enter_context(BackgroundWork(partial(sync_tree, staged[0])))
            else:
                with _holding_still(engine, workspace, with_root=with_root):
                    for (each, _), copy in zip(copies, staged, strict=True):
                        copy_disk(each, copy)
                        fault_point("ws_snapshot.copied")
                    # The guest goes on meanwhile.
                    syncing = stack.enter_context(BackgroundWork(partial(_sync_read_only, staged)))
            sizes = [_size_of(each) for each in staged]
            snapshot = Snapshot(name, snapshot_id, engine.clock.wall_s(), sum(sizes), sizes[0] if with_root else None)
            # First, so that a disk is never there without it: that one could not be told from a damaged snapshot.
            write_snapshot_record(files, snapshot)
            fault_point("ws_snapshot.identified")
            syncing.finish()
        with os_errors(f"make {files.snapshots}"):
            for copy, (_, final) in zip(staged, copies, strict=True):
                os.rename(copy, final)
                fault_point("ws_snapshot.published")
            fsync_dir(files.snapshots)
        event = ReviewEvent(ReviewKind.SNAPSHOT, {"name": name, "size_bytes": snapshot.size_bytes})

        def record(connection: sqlite3.Connection) -> None:
            insert_snapshot(connection, workspace.id, snapshot)
            be_active(connection, workspace.id, engine.clock)
            put_event(connection, workspace.id, event, engine.clock)

        engine.store.workspaces.update(workspace.id, lambda now: now, also=record, durable=True)
        fault_point("ws_snapshot.recorded")
    except BaseException:
        if engine.store.workspaces.find_snapshot(workspace.id, name) is None:
            for copy in staged:
                remove_tree(copy)
            remove_snapshot_files(files, snapshot_id)
        raise
    return snapshot


@contextmanager
def _holding_still(engine: Engine, workspace: Workspace, *, with_root: bool) -> Generator[None]:
    """Sync and freeze the guest's `/workspace`, or all that it writes to, inside the block."""
    vm = engine.store.vms.find(workspace.vm_id) if workspace.vm_id else None
    if vm is None or vm.machine is None or not is_running(vm.machine):
        yield
        return
    machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
    try:
        with (
            AgentSession.open(machine.transport, timeout_s=CONNECT_TIMEOUT_S) as session,
            GuestFiles(session).frozen(with_root=with_root),
        ):
            yield
    except PyroError as error:
        if error.code is not ErrorCode.TIMEOUT:
            raise
        hint = "Stop the workspace first: a stopped workspace can always be copied."
        raise PyroError(error.code, error.message, hint=hint, details=error.details) from error
    finally:
        machine.close()


def _sync_read_only(disks: list[Path]) -> None:
    for disk in disks:
        with closing_fd(open_regular(disk, "the disk")) as fd, os_errors(f"write {disk}"):
            os.fchmod(fd, 0o400)
            os.fsync(fd)
        fault_point("ws_snapshot.synced")


def _size_of(path: Path) -> int:
    """Return the space that a disk or directory takes on the host."""
    total = 0
    try:
        total = os.lstat(path).st_blocks * _BLOCK_BYTES
        for place, _, names in os.walk(path):
            total += sum(os.lstat(os.path.join(place, name)).st_blocks * _BLOCK_BYTES for name in names)
    except FileNotFoundError:
        return total
    return total


def _taken(workspace: Workspace, name: str) -> PyroError:
    return PyroError(
        ErrorCode.CONFLICT,
        f"the workspace {workspace.title} already has a snapshot {name!r}",
        hint="Choose another name, or delete that one first.",
        details={"workspace_id": workspace.id},
    )
