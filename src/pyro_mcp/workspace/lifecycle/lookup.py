"""Find, list and describe workspaces, and change their names and labels.

Only a change counts as activity, and nothing here starts or stops a guest.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.naming import check_labels
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.state.copies import write_workspace_copy
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.vmm.paused import is_stuck, stuck_error

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.lifecycle.spec import WorkspaceChange


def find_workspace(engine: Engine, handle: str) -> Workspace:
    """Return a workspace as recorded; `status_workspace` checks whether the record is still true.

    Raises:
        PyroError: NOT_FOUND; CONFLICT, naming the ids, if the handle is a prefix of several.
    """
    try:
        return engine.store.workspaces.lookup(handle)
    except PyroError as error:
        if error.code is not ErrorCode.CORRUPT:
            raise
    engine.restore_workspaces()
    return engine.store.workspaces.lookup(handle)


def list_workspaces(engine: Engine) -> tuple[Workspace, ...]:
    """Return all workspaces, most recently active first.

    Raises:
        PyroError: the store can't be used.
    """
    engine.use_reserve()
    engine.reconcile()
    workspaces, damaged = engine.store.workspaces.all()
    if damaged:
        engine.restore_workspaces()
        workspaces, _ = engine.store.workspaces.all()
    return tuple(workspaces)


def status_workspace(engine: Engine, handle: str) -> Workspace:
    """Return a workspace's current state. Its last error reports a guest paused because the host's disk is full.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if the handle is a prefix of several ids.
    """
    engine.use_reserve()
    engine.reconcile()
    workspace = find_workspace(engine, handle)
    vm = engine.store.vms.find(workspace.vm_id) if workspace.state is WorkspaceState.STARTED else None
    if vm is None or vm.machine is None:
        return workspace
    machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
    if not is_stuck(machine):
        return workspace
    error = stuck_error("its guest", machine)
    return replace(workspace, last_error=f"{error.message}. {error.hint}")


def update_workspace(engine: Engine, handle: str, change: WorkspaceChange) -> Workspace:
    """Change a workspace's name and labels, and return it.

    Raises:
        PyroError: NOT_FOUND for the workspace or a label to clear; CONFLICT if the name is taken; INVALID.
    """
    workspace = find_workspace(engine, handle)
    now_s = engine.clock.wall_s()

    def changed(now: Workspace) -> Workspace:
        missing = [key for key in change.clear_labels if key not in now.labels]
        if missing:
            raise PyroError(
                ErrorCode.NOT_FOUND,
                f"the workspace {now.title} has no label {missing[0]!r}",
                hint="Its status shows its labels.",
            )
        kept = {key: value for key, value in now.labels.items() if key not in change.clear_labels}
        after = replace(
            now,
            name=None if change.clear_name else change.name or now.name,
            labels=check_labels({**kept, **change.labels}),
        )
        return now if after == now else replace(after, last_activity_at=max(now.last_activity_at, now_s))

    workspace = engine.store.workspaces.update(workspace.id, changed, durable=True)
    copy_record(engine, workspace)
    return workspace


def copy_record(engine: Engine, workspace: Workspace) -> None:
    """Update the copy of a workspace's record."""
    with suppress(PyroError):
        snapshots = engine.store.workspaces.snapshots(workspace.id)
        write_workspace_copy(WorkspaceFiles(engine.paths, workspace.id), workspace, snapshots)
