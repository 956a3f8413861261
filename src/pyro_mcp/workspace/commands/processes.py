"""List the processes of a running workspace. A stopped workspace is not started."""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.agent.processes import GuestProcess, list_processes
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.lifecycle.lookup import status_workspace


def processes_of(engine: Engine, handle: str) -> tuple[str, tuple[GuestProcess, ...]]:
    """Return a workspace's id and its processes, with secret values redacted.

    Raises:
        PyroError: NOT_FOUND, also if it does not run; UNSUPPORTED if its commands run on the host; as `guest_of`.
    """
    workspace = status_workspace(engine, handle)
    if workspace.state is not WorkspaceState.STARTED:
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"nothing runs in the workspace {workspace.title}, which is {workspace.state.value}",
            hint="`pyro workspace start` starts it.",
            details={"workspace_id": workspace.id},
        )
    if workspace.is_host_compat:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"the commands of the workspace {workspace.title} run on this host itself (host compat)",
            hint="ps and top of this host show them.",
        )
    with guest_of(engine, workspace.id, activity=False) as guest, guest.session() as session:
        processes = list_processes(session)
    if workspace.secrets:
        from pyro_mcp.workspace.secrets.keeping import redactor_for

        redactor = redactor_for(engine.paths, workspace)
        processes = tuple(replace(each, command=redactor.text(each.command)) for each in processes)
    return workspace.id, processes
