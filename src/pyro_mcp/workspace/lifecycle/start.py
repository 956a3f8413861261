"""Start a stopped workspace: the same root file system, the same `/workspace`, none of the processes.

A start that fails leaves it stopped.
"""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.errors import PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, Workspace
from pyro_mcp.state.journal import put_event
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import copy_record, find_workspace
from pyro_mcp.workspace.lifecycle.lost_disks import flavour_of, give_up_root, has_lost_root, is_root_damaged
from pyro_mcp.workspace.lifecycle.machine import machine_up, new_vm
from pyro_mcp.workspace.machines.images import images_of
from pyro_mcp.workspace.machines.selection import choose, demands_of
from pyro_mcp.workspace.machines.spec import StartPlan
from pyro_mcp.workspace.ttl import renewed

_RESET_HINT = "`pyro workspace reset` always restores it from its baseline or a snapshot."


def start_workspace(engine: Engine, handle: str) -> Workspace:
    """Start a workspace and return it. A running one is left unchanged.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; any reason why it can't start: it is `failed` then,
            and may be started again.
    """
    engine.reconcile()
    workspace = find_workspace(engine, handle)
    with workspace_lock(engine.paths, workspace.id):
        return start_locked(engine, workspace.id)


def start_locked(engine: Engine, workspace_id: str) -> Workspace:
    """Start a workspace whose lock the caller holds. A running one is left unchanged.

    Raises:
        PyroError: as `start_workspace`.
    """
    before = engine.store.workspaces.get(workspace_id)
    if before.state is WorkspaceState.STARTED:
        return before
    if has_lost_root(engine, before):
        return _started(engine, before, give_up_root(engine, before))
    try:
        return _started(engine, before)
    except PyroError as error:
        if not is_root_damaged(error):
            raise
    # The work is on the other disk, and must stay reachable although this one is damaged.
    return _started(engine, engine.store.workspaces.get(workspace_id), give_up_root(engine, before))


def _started(engine: Engine, before: Workspace, lost_root: str = "") -> Workspace:
    """Start a stopped workspace, with a new root disk if `lost_root` is given, the reason for it."""
    workspace_id = before.id
    engine.progress.phase("start", f"workspace_id={workspace_id}")
    unclean = before.last_error if before.state is WorkspaceState.STOPPED else ""
    flavour = flavour_of(is_root_new=bool(lost_root))
    if unclean:
        engine.notice(unclean.split(";\n", 1)[0])
    choice = choose(engine, demands_of(before))
    images = images_of(engine, before) if choice.is_guest else None
    vm = new_vm(engine, before, choice, images)
    owner = this_process()
    starting = engine.store.workspaces.update(
        workspace_id,
        lambda now: replace(now, state=WorkspaceState.STARTING, owner=owner),
        also=lambda connection: engine.store.vms.insert_in(connection, vm),
    )
    try:
        fault_point("ws_start.marked")
        with machine_up(engine, starting, StartPlan(vm, choice, images, flavour), life=starting.life) as running:
            event = ReviewEvent(ReviewKind.START, {"after": before.stop_reason.value if before.stop_reason else ""})
            started = engine.store.workspaces.update(
                workspace_id,
                lambda now: renewed(
                    engine.clock,
                    replace(
                        now,
                        state=WorkspaceState.STARTED,
                        vm_id=running.vm.id,
                        stop_reason=None,
                        # Of an unclean stop; kept until the next clean one.
                        last_error=lost_root or unclean,
                        execution_mode=choice.execution_mode,
                        isolation=choice.isolation,
                        boot_digest=running.vm.boot_digest,
                    ),
                ),
                also=lambda connection: (
                    running.record(connection),
                    put_event(connection, workspace_id, event, engine.clock),
                ),
            )
            fault_point("ws_start.recorded")
    except BaseException as error:
        _take_back(engine, before, error)
        if isinstance(error, PyroError):
            hint = f"{error.hint} {_RESET_HINT}".strip()
            raise PyroError(error.code, error.message, hint=hint, details=error.details) from error
        raise
    copy_record(engine, replace(started, owner=None))
    # Only now: an owner is what makes reconcile remove leftovers of a killed process.
    return engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=None))


def _take_back(engine: Engine, before: Workspace, error: BaseException) -> None:
    failed = isinstance(error, PyroError)
    after = engine.store.workspaces.update(
        before.id,
        lambda now: replace(
            now,
            state=WorkspaceState.FAILED if failed and _startable(now) else WorkspaceState.STOPPED,
            owner=None,
            vm_id="",
            expires_at=None,
            stop_reason=before.stop_reason,
            last_error=error.message if isinstance(error, PyroError) else before.last_error,
        ),
    )
    copy_record(engine, after)


def _startable(now: Workspace) -> bool:
    return now.state is WorkspaceState.STARTING
