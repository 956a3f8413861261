"""Snapshots of a workspace, and reset."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, about, asked, said
from pyro_mcp.operations.operation import Call, Effect, Operation, Result, engine, result_of
from pyro_mcp.operations.parameters import WorkspaceRequest
from pyro_mcp.operations.workspaces.lifecycle import WorkspaceResult, workspace_result
from pyro_mcp.protocol.names import WORKSPACE

if TYPE_CHECKING:
    from pyro_mcp.model.workspace import Snapshot
    from pyro_mcp.workspace.engine import Engine


BASELINE = "baseline"
SNAPSHOT_NAME = about(
    "The snapshot's name: letters, digits, dots, dashes and underscores.",
    place=Place.POSITIONAL,
    names="NAME",
    max_length=64,
    form="at most 63 letters, digits, dots, dashes and underscores",
    completes="snapshot",
)


class SnapshotRequest(Request):
    """Name one snapshot of a workspace."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    snapshot_name: str = field(metadata=SNAPSHOT_NAME)


class SnapshotCreateRequest(Request):
    """Ask for a snapshot."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    snapshot_name: str = field(metadata=SNAPSHOT_NAME)
    with_root: bool = asked("Include the root file system, so that installed packages are kept.", default=False)


class ResetRequest(Request):
    """Ask for a workspace to begin again."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    snapshot: str = asked(
        "The snapshot to restore; baseline is /workspace at creation.",
        default=BASELINE,
        names="NAME",
        max_length=64,
        form="the name of a snapshot, or baseline",
        completes="snapshot",
    )


class SnapshotFacts(Result):
    """One snapshot."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    snapshot_name: str = said("Its name.")
    kind: str = said("baseline, or named.")
    created_at: str = said("When it was taken (UTC).")
    size_bytes: int = said("Disk space used on this host.")
    deletable: bool = said("Whether it can be deleted: the baseline can't.")
    with_root: bool = said("Whether it includes the root file system.")
    root_size_bytes: int | None = said("Disk space that the root file system takes of it.")


class SnapshotResult(Result):
    """A snapshot that was made."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    snapshot: SnapshotFacts = said("The snapshot.")


class WorkspaceReset(Result):
    """A reset."""

    snapshot_name: str = said("The snapshot that /workspace was restored from.")
    kind: str = said("baseline, or named.")
    destination: str = said("The tree that was restored: /workspace.")


class ResetResult(WorkspaceResult):
    """A workspace that was reset."""

    workspace_reset: WorkspaceReset = said("The reset.")


def snapshot_facts(workspace_id: str, snapshot: Snapshot) -> SnapshotFacts:
    """Return a snapshot as users are shown it."""
    is_named = snapshot.name != BASELINE
    kind = "named" if is_named else BASELINE
    return result_of(
        SnapshotFacts,
        snapshot,
        workspace_id=workspace_id,
        snapshot_name=snapshot.name,
        kind=kind,
        deletable=is_named,
        with_root=snapshot.root_size_bytes is not None,
    )


class SnapshotListResult(Result):
    """All snapshots of a workspace."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    count: int = said("Number of snapshots, including the baseline.")
    snapshots: list[SnapshotFacts] = said("The baseline, then the others, oldest first.", most=100)


class SnapshotDeleteResult(Result):
    """A snapshot that is gone."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    snapshot_name: str = said("Its name.")
    deleted: bool = said("Always true: a failed deletion is an error.")


def _create(request: SnapshotCreateRequest, call: Call) -> SnapshotResult:
    from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot

    with engine(call) as using:
        workspace_id = _id(using, request.workspace_id)
        made = create_snapshot(using, workspace_id, request.snapshot_name, with_root=request.with_root)
    return SnapshotResult(workspace_id, snapshot_facts(workspace_id, made))


def _list(request: WorkspaceRequest, call: Call) -> SnapshotListResult:
    from pyro_mcp.workspace.lifecycle.snapshots import list_snapshots

    with engine(call) as using:
        workspace_id = _id(using, request.workspace_id)
        found = [snapshot_facts(workspace_id, each) for each in list_snapshots(using, workspace_id)]
    return SnapshotListResult(workspace_id, len(found), found)


def _delete(request: SnapshotRequest, call: Call) -> SnapshotDeleteResult:
    from pyro_mcp.workspace.lifecycle.snapshots import delete_snapshot

    with engine(call) as using:
        workspace_id = _id(using, request.workspace_id)
        delete_snapshot(using, workspace_id, request.snapshot_name)
    return SnapshotDeleteResult(workspace_id, request.snapshot_name, deleted=True)


def _reset(request: ResetRequest, call: Call) -> ResetResult:
    from pyro_mcp.workspace.lifecycle.reset import reset_workspace

    with engine(call) as using:
        workspace = reset_workspace(using, request.workspace_id, snapshot=request.snapshot)
        kind = BASELINE if request.snapshot == BASELINE else "named"
        done = WorkspaceReset(request.snapshot, kind, WORKSPACE)
        return workspace_result(ResetResult, using, workspace, workspace_reset=done)


def _id(using: Engine, handle: str) -> str:
    from pyro_mcp.workspace.lifecycle.lookup import find_workspace

    return find_workspace(using, handle).id


SNAPSHOT_CREATE = Operation(
    name="snapshot_create",
    title="Take a snapshot of a workspace",
    description=(
        "Take a named snapshot of a workspace's /workspace, for a later reset. Commands keep running meanwhile."
        " Installed packages are included only with with_root, running processes never."
    ),
    handler=_create,
    effect=Effect.WRITE,
    cli=("workspace", "snapshot", "create"),
    sdk="create_snapshot",
)
SNAPSHOT_LIST = Operation(
    name="snapshot_list",
    title="List snapshots of a workspace",
    description=(
        "List the snapshots of a workspace: the baseline, which always exists, then the others, oldest first."
    ),
    handler=_list,
    effect=Effect.READ,
    cli=("workspace", "snapshot", "list"),
    sdk="list_snapshots",
)
SNAPSHOT_DELETE = Operation(
    name="snapshot_delete",
    title="Delete a snapshot of a workspace",
    description=(
        "Delete a snapshot of a workspace. The workspace itself does not change; the baseline can't be deleted."
    ),
    handler=_delete,
    effect=Effect.DESTROY,
    cli=("workspace", "snapshot", "delete"),
    sdk="delete_snapshot",
)
WORKSPACE_RESET = Operation(
    name="workspace_reset",
    title="Reset a workspace",
    description=(
        "Discard everything in a workspace (its whole root file system, /tmp, processes, history) and start"
        " over with /workspace from the baseline or a named snapshot, and the root file system too if the"
        " snapshot has one. Id, name, labels, snapshots and"
        " baseline are kept. Cheap: the normal way to try again."
    ),
    handler=_reset,
    effect=Effect.DESTROY,
    idempotent=True,
    cli=("workspace", "reset"),
    sdk="reset_workspace",
)
ROWS = (SNAPSHOT_CREATE, SNAPSHOT_LIST, SNAPSHOT_DELETE, WORKSPACE_RESET)
