"""Reset a workspace: discard the sandbox and restore it from the baseline or a snapshot.

A reset is atomic: the new generation has its own disks and a running machine before one transaction switches to it, and
the old one is removed only after that.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.limits import MIN_FREE_BYTES
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import BASELINE, ReviewEvent, ReviewKind, Workspace
from pyro_mcp.state.discard import discard_vms
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import put_event
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.state.workspace_files import begin_life, finish_life, sweep_workspace
from pyro_mcp.state.workspaces import forget_records
from pyro_mcp.vmm.selection import Selection
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.copying import Copying
from pyro_mcp.workspace.lifecycle.lookup import copy_record, find_workspace
from pyro_mcp.workspace.lifecycle.machine import machine_up, new_vm
from pyro_mcp.workspace.lifecycle.snapshots import find_snapshot
from pyro_mcp.workspace.machines.disks import require_space
from pyro_mcp.workspace.machines.images import Images, images_of
from pyro_mcp.workspace.machines.selection import choose, demands_of
from pyro_mcp.workspace.machines.spec import StartPlan
from pyro_mcp.workspace.ttl import renewed

_BLOCK_BYTES = 512
_GONE_HINT = "Reset it to another snapshot; `pyro workspace snapshot list` lists them."


def reset_workspace(engine: Engine, handle: str, *, snapshot: str = BASELINE) -> Workspace:
    """Restore `/workspace` from the baseline or the named snapshot, and return the workspace, started.

    The root file system is new, or that of the snapshot if it has one.

    Running commands are lost. If the reset fails, the workspace is unchanged.

    Raises:
        PyroError: NOT_FOUND for the workspace or the snapshot; BUSY if another process works on it; CONFLICT; NO_SPACE;
            any reason why it can't start.
    """
    engine.reconcile()
    workspace_id = find_workspace(engine, handle).id
    with workspace_lock(engine.paths, workspace_id):
        before = engine.store.workspaces.get(workspace_id)
        sources = _sources(engine, before, snapshot)
        engine.progress.phase("reset", f"workspace_id={workspace_id} snapshot={snapshot}")
        choice = choose(engine, demands_of(before))
        images = images_of(engine, before) if choice.is_guest else None
        after = _reset(engine, before, snapshot, sources, choice, images)
        fault_point("ws_reset.recorded")
        discard_vms(engine.store, engine.paths, workspace_id, but=after.vm_id)
        fault_point("ws_reset.ended")
        sweep_workspace(engine.store, engine.paths, after, engine.notice)
        fault_point("ws_reset.swept")
        copy_record(engine, replace(after, owner=None))
        return engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=None))


def _reset(
    engine: Engine, before: Workspace, snapshot: str, sources: list[Path], choice: Selection, images: Images | None
) -> Workspace:
    files = WorkspaceFiles(engine.paths, before.id)
    life = before.life + 1
    vm = new_vm(engine, before, choice, images)
    owner = this_process()
    resetting = engine.store.workspaces.update(
        before.id,
        lambda now: replace(now, state=WorkspaceState.RESETTING, owner=owner),
        also=lambda connection: engine.store.vms.insert_in(connection, vm),
    )
    try:
        fault_point("ws_reset.marked")
        begin_life(files, life)
        target = files.workspace_tree(life) if before.is_host_compat else files.workspace_disk(life)
        copies = dict(zip(sources, (target, files.root_disk(life)), strict=False))
        flavour = Flavour.FRESH if len(copies) == 1 else Flavour.ATTACH
        with (
            Copying(copies, are_disks=not before.is_host_compat) as copying,
            machine_up(
                engine,
                resetting,
                StartPlan(vm, choice, images, flavour),
                life=life,
                meanwhile=copying.finish,
            ) as running,
        ):
            fault_point("ws_reset.up")
            finish_life(files, life, snapshot, engine.clock.wall_s())
            fault_point("ws_reset.finished")
            event = ReviewEvent(ReviewKind.RESET, {"snapshot": snapshot})

            def record(connection: sqlite3.Connection) -> None:
                forget_records(connection, before.id)
                running.record(connection)
                put_event(connection, before.id, event, engine.clock)

            return engine.store.workspaces.update(
                before.id, lambda now: _started_afresh(engine, now, running.vm, life), also=record, durable=True
            )
    except BaseException as error:
        _take_back(engine, before, files, life)
        if isinstance(error, PyroError) and error.code is ErrorCode.UNAVAILABLE:
            # If the copied disk is damaged, another one may not be.
            hint = f"{error.hint} {_GONE_HINT}".strip()
            raise PyroError(error.code, error.message, hint=hint, details=error.details) from error
        raise


def _started_afresh(engine: Engine, now: Workspace, vm: Vm, life: int) -> Workspace:
    now_s = engine.clock.wall_s()
    after = replace(
        now,
        state=WorkspaceState.STARTED,
        life=life,
        vm_id=vm.id,
        reset_count=now.reset_count + 1,
        last_reset_at=now_s,
        last_activity_at=max(now.last_activity_at, now_s),
        command_count=0,
        stop_reason=None,
        last_error="",
        execution_mode=vm.execution_mode,
        isolation=vm.isolation,
        boot_digest=vm.boot_digest,
    )
    return renewed(engine.clock, after)


def _take_back(engine: Engine, before: Workspace, files: WorkspaceFiles, life: int) -> None:
    def taken_back(now: Workspace) -> Workspace:
        # If the interrupt came after the switch, the reset stands; the next reconcile cleans up.
        return replace(now, owner=None, state=before.state if now.life == before.life else now.state)

    now = engine.store.workspaces.update(before.id, taken_back)
    if now.life == before.life:
        remove_tree(files.life(life))


def _sources(engine: Engine, workspace: Workspace, snapshot: str) -> list[Path]:
    """Return the disk or tree to copy `/workspace` from and, if the snapshot has one, the root disk."""
    files = WorkspaceFiles(engine.paths, workspace.id)
    if snapshot == BASELINE:
        sources = [files.baseline_tree if workspace.is_host_compat else files.baseline_disk]
    else:
        found = find_snapshot(engine, workspace, snapshot)
        sources = [files.snapshot_tree(found.id) if workspace.is_host_compat else files.snapshot_disk(found.id)]
        if found.root_size_bytes is not None:
            sources.append(files.snapshot_root(found.id))
    with os_errors(f"read the {snapshot} of {workspace.title}", hint=_GONE_HINT):
        size_bytes = sum(os.lstat(source).st_blocks * _BLOCK_BYTES for source in sources)
    require_space(files.directory, size_bytes + MIN_FREE_BYTES)
    return sources
