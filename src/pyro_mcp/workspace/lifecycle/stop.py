"""Stop a workspace: its guest flushes its disks and is powered off; all files stay.

When this returns, the guest's writes are durable on the host's disk. No workspace is left half stopped.
"""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import WorkspaceState, workspace_conflict
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, Workspace
from pyro_mcp.state.discard import discard_vms, end_machine
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import put_event
from pyro_mcp.state.locks import workspace_lock
from pyro_mcp.state.store import this_process
from pyro_mcp.state.unclean import unclean_end
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import copy_record, find_workspace
from pyro_mcp.workspace.machines.disks import sync_disk
from pyro_mcp.workspace.machines.power_off import power_off

# The guest may still have gigabytes to write.
_POWEROFF_TIMEOUT_S = 60.0


def stop_workspace(engine: Engine, handle: str) -> Workspace:
    """Stop a workspace and return it. One that is not running is left unchanged. Running commands are lost.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; TIMEOUT if its VMM survives SIGKILL.
    """
    engine.use_reserve()
    engine.reconcile()
    workspace = find_workspace(engine, handle)
    with workspace_lock(engine.paths, workspace.id):
        return stop_locked(engine, workspace.id, StopReason.USER)


def stop_locked(engine: Engine, workspace_id: str, reason: StopReason) -> Workspace:
    """Stop a workspace whose lock the caller holds. One that is not running is left unchanged.

    Raises:
        PyroError: as `stop_workspace`.
    """
    workspace = engine.store.workspaces.get(workspace_id)
    if workspace.state in {WorkspaceState.STOPPED, WorkspaceState.FAILED}:
        return workspace
    if workspace.state not in {WorkspaceState.STARTED, WorkspaceState.STOPPING}:
        raise workspace_conflict(workspace.title, workspace.state, "can't be stopped")
    engine.progress.phase("stop", f"workspace_id={workspace_id}")
    workspace = engine.store.workspaces.update(
        workspace_id, lambda now: replace(now, state=WorkspaceState.STOPPING, owner=this_process())
    )
    fault_point("ws_stop.marked")
    vm = engine.store.vms.find(workspace.vm_id)
    flushed = True
    if vm is not None and vm.machine is not None:
        flushed = power_off(engine, vm.machine, timeout_s=_POWEROFF_TIMEOUT_S)
        fault_point("ws_stop.powered_off")
        end_machine(vm.id, vm.machine)
        fault_point("ws_stop.ended")
    files = WorkspaceFiles(engine.paths, workspace_id)
    problem = ""
    if not workspace.is_host_compat:
        sync_disk(files.root_disk(workspace.life))
        sync_disk(files.workspace_disk(workspace.life))
        if not flushed:
            problem = unclean_end("the guest did not answer and was ended", files.workspace_disk(workspace.life))
            engine.notice(problem)
    else:
        from pyro_mcp.workspace.lifecycle.host_tree import sync_tree

        sync_tree(files.workspace_tree(workspace.life))
    event = ReviewEvent(ReviewKind.STOP, {"reason": reason.value})
    stopped = engine.store.workspaces.update(
        workspace_id,
        lambda now: replace(
            now,
            state=WorkspaceState.STOPPED,
            stop_reason=reason,
            vm_id="",
            expires_at=None,
            last_error=problem,
        ),
        also=lambda connection: put_event(connection, workspace_id, event, engine.clock),
        durable=True,
    )
    fault_point("ws_stop.recorded")
    discard_vms(engine.store, engine.paths, workspace_id)
    copy_record(engine, replace(stopped, owner=None))
    # Only now: an owner is what makes reconcile remove leftovers of a killed process.
    return engine.store.workspaces.update(workspace_id, lambda now: replace(now, owner=None))
