"""Taking a workspace away, or what is left of a part of it.

Owns the one way in which workspaces vanish (VMs, files, records, in this order; it can be interrupted anywhere and done
again), and clearing away what a killed verb left in a workspace's directory. Refuses to remove a disk that a VM may
still write to.
The caller holds the workspace's lock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError, from_os_error
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.workspace_states import WorkspaceState
from pyro_mcp.state.discard import discard_vm
from pyro_mcp.state.disk_removal import remove_disks
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.store import this_process
from pyro_mcp.state.vm_lock import vm_lock

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.state.store import Store


def discard_workspace(store: Store, paths: Paths, workspace: Workspace) -> None:
    """End the workspace's VMs, remove its files, and forget it.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; PERMISSION and others. It is then `deleting`, and the next
            attempt goes on from there.
    """
    store.workspaces.update(
        workspace.id,
        lambda now: replace(now, state=WorkspaceState.DELETING, owner=this_process(), vm_id="", expires_at=None),
    )
    try:
        fault_point("ws_delete.marked")
        discard_vms(store, paths, workspace.id)
        fault_point("ws_delete.ended")
        files = WorkspaceFiles(paths, workspace.id)
        # First what makes it a workspace: half of one is not to be taken up again if the database is lost now.
        remove_tree(files.record)
        remove_disks(files.directory)
        fault_point("ws_delete.removed")
        store.workspaces.delete(workspace.id)
    except BaseException:
        # This process may live long, and must not keep others from trying.
        with suppress(PyroError):
            store.workspaces.update(workspace.id, lambda now: replace(now, owner=None))
        raise


def discard_vms(store: Store, paths: Paths, workspace_id: str, *, but: str = "") -> None:
    """End and forget the VMs that were started for a workspace, but one.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; BUSY, PERMISSION and others.
    """
    for vm_id in store.vms.ids_of_workspace(workspace_id):
        if vm_id != but:
            discard_vm_if_there(store, paths, vm_id)


def discard_vm_if_there(store: Store, paths: Paths, vm_id: str) -> None:
    """End and forget a VM that another process may have taken away by now.

    Raises:
        PyroError: TIMEOUT if a process survives SIGKILL; BUSY, PERMISSION and others.
    """
    with vm_lock(paths, vm_id):
        vm = store.vms.find(vm_id)
        if vm is not None:
            discard_vm(store, paths, vm)


def sweep_workspace(store: Store, paths: Paths, workspace: Workspace) -> None:
    """Remove lives that are over, and what was staged but never published. No VM may run on them.

    Raises:
        PyroError: PERMISSION and others.
    """
    files = WorkspaceFiles(paths, workspace.id)
    known = {snapshot.id for snapshot in store.workspaces.snapshots(workspace.id)}
    for path in _entries(files.lives):
        if path.name != str(workspace.life):
            remove_disks(path)
    for path in _entries(files.snapshots):
        if path.name.removesuffix(".img") not in known:
            remove_disks(path)
    for path in _entries(files.directory):
        if path.name.endswith(".new"):
            remove_tree(path)


def _entries(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error(error, f"look into {directory}") from error
