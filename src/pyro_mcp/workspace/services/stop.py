"""Stop a service, its child processes and its published ports. One that ignores the request is killed."""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.services import GuestServices
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.service import Service, ServiceState
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, Workspace
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.journal import note_activity
from pyro_mcp.state.service_records import ServiceRecords, end_publisher
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import status_workspace
from pyro_mcp.workspace.services.inspect import agreed, guest_session, no_service, services_of

GRACE_S = 10.0


def stop_service(
    engine: Engine, handle: str, name: str, *, cancel: CancelToken | None = None
) -> tuple[Workspace, Service]:
    """Stop a service, and return its new state. One that has ended is left unchanged.

    Raises:
        PyroError: NOT_FOUND; CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
    """
    workspace = status_workspace(engine, handle)
    records = ServiceRecords(VmFiles(engine.paths, workspace.vm_id)) if workspace.vm_id else None
    before = None if records is None else records.find(name)
    if records is None or before is None:
        raise no_service(workspace, name)
    # It may have exited before this stop.
    services_of(engine, workspace)
    with guest_session(engine, workspace) as session:
        try:
            report = GuestServices(session, cancel=cancel).stop(name, grace_s=GRACE_S)
        except PyroError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            report = None
    end_publisher(before)
    after = records.update(name, before.run, lambda now: replace(agreed(now, report), ports=(), publisher=None))
    service = after or before
    if service.state is ServiceState.STOPPED:
        what = f"stopped (exit {service.exit_code})"
        note_activity(
            engine.store,
            engine.clock,
            workspace.id,
            event=ReviewEvent(ReviewKind.SERVICE, {"service": name, "what": what}),
        )
    return workspace, service
