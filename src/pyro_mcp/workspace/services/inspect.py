"""Inspect services: all of a workspace, one, or its log.

Records are updated from the guest. This neither starts a guest nor counts as activity.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import assert_never

from pyro_mcp.agent import AgentSession
from pyro_mcp.agent.services import GuestServices, GuestServiceState, ServiceReport, explain_left
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.service import Service, ServiceState
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.protocol import services as limits
from pyro_mcp.state.discard import is_running
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.service_records import ServiceRecords, is_published
from pyro_mcp.state.store import is_alive
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import status_workspace
from pyro_mcp.workspace.secrets.keeping import redactor_for
from pyro_mcp.workspace.secrets.values import MAX_VALUE_BYTES

LOOK_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 5.0
_TAIL_BYTES = 64 * 1024
# More than a guest keeps of a log.
_ALL_BYTES = 2 * limits.KEPT_BYTES
_UNPUBLISHED = "its ports are no longer published: the process that forwarded them was killed. Start it again."


@dataclass(frozen=True, slots=True)
class ServiceLogs:
    """A service's output. `truncated` means that earlier output is missing."""

    workspace: Workspace
    service: Service
    text: str
    truncated: bool
    total_bytes: int


def list_services(engine: Engine, handle: str) -> tuple[Workspace, tuple[Service, ...]]:
    """Return a workspace and its services, in the order of their start. A stopped workspace has none.

    Raises:
        PyroError: NOT_FOUND.
    """
    workspace = status_workspace(engine, handle)
    return workspace, services_of(engine, workspace)


def status_service(engine: Engine, handle: str, name: str) -> tuple[Workspace, Service]:
    """Return a workspace and one of its services.

    Raises:
        PyroError: NOT_FOUND.
    """
    workspace, services = list_services(engine, handle)
    for service in services:
        if service.name == name:
            return workspace, service
    raise no_service(workspace, name)


def logs_service(engine: Engine, handle: str, name: str, *, tail_lines: int | None) -> ServiceLogs:
    """Return a service's output, or its last lines, with secret values redacted.

    Raises:
        PyroError: NOT_FOUND; CORRUPT; TIMEOUT, GUEST_LOST, PROTOCOL.
    """
    workspace, service = status_service(engine, handle, name)
    redactor = redactor_for(engine.paths, workspace)
    with guest_session(engine, workspace) as session:
        guest = GuestServices(session)
        wants_all = tail_lines is None or not redactor.is_idle
        part = guest.logs(name, -_ALL_BYTES if wants_all else -_TAIL_BYTES, count=_ALL_BYTES)
        if not wants_all and part.data.count(b"\n") <= (tail_lines or 0) and part.start > part.report.first:
            part = guest.logs(name, -_ALL_BYTES, count=_ALL_BYTES)
    data, is_cut = part.data, part.start > 0
    if is_cut and not redactor.is_idle:
        # It may begin with the end of a value, which can't be recognized.
        data = data[MAX_VALUE_BYTES * 2 :]
    lines = redactor.data(data).decode("utf-8", "replace").splitlines(keepends=True)
    if is_cut:
        lines = lines[1:]
    if tail_lines is not None and len(lines) > tail_lines:
        lines, is_cut = lines[len(lines) - tail_lines :], True
    return ServiceLogs(workspace, service, "".join(lines), is_cut, part.report.end)


def services_of(engine: Engine, workspace: Workspace, *, timeout_s: float = LOOK_TIMEOUT_S) -> tuple[Service, ...]:
    """Return the services of a workspace as reported by its guest or, if it does not answer, as last recorded."""
    if workspace.state is not WorkspaceState.STARTED:
        return ()
    records = ServiceRecords(VmFiles(engine.paths, workspace.vm_id))
    found = records.all()
    if not any(each.state is ServiceState.RUNNING for each in found):
        return tuple(found)
    with suppress(PyroError), guest_session(engine, workspace, timeout_s=timeout_s) as session:
        reports = {each.name: each for each in GuestServices(session).list(timeout_s=timeout_s)}
        found = [_agreeing(records, each, reports.get(each.name)) for each in found]
    return tuple(_with_ports(each) for each in found)


def count_services(engine: Engine, workspace: Workspace, *, timeout_s: float) -> tuple[int, int]:
    """Return the numbers of all and of running services; `timeout_s` is how long the guest may take to answer."""
    services = services_of(engine, workspace, timeout_s=timeout_s)
    return len(services), sum(each.state is ServiceState.RUNNING for each in services)


@contextmanager
def guest_session(
    engine: Engine, workspace: Workspace, *, timeout_s: float = CONNECT_TIMEOUT_S
) -> Generator[AgentSession]:
    """Open a session with the guest of a workspace, without starting it.

    Raises:
        PyroError: NOT_FOUND if it is not running; BUSY, GUEST_LOST, TIMEOUT.
    """
    vm = engine.store.vms.find(workspace.vm_id) if workspace.vm_id else None
    if workspace.state is not WorkspaceState.STARTED or vm is None or vm.machine is None or not is_running(vm.machine):
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"no service runs in the workspace {workspace.title}, which is {workspace.state.value}",
            hint="Services end with their guest: start the workspace, and then its services again.",
        )
    machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
    try:
        with AgentSession.open(machine.transport, timeout_s=timeout_s) as session:
            yield session
    finally:
        machine.close()


def no_service(workspace: Workspace, name: str) -> PyroError:
    """Return the error for a missing service."""
    return PyroError(
        ErrorCode.NOT_FOUND,
        f"the workspace {workspace.title} has no service {name[:64]!r}",
        hint="`pyro workspace service list` lists its services. They end when the workspace is stopped or reset.",
        details={"workspace_id": workspace.id, "service": name[:64]},
    )


def _agreeing(records: ServiceRecords, service: Service, report: ServiceReport | None) -> Service:
    after = agreed(service, report)
    if after != service:
        with suppress(PyroError):
            return records.update(service.name, service.run, lambda _: after) or after
    return after


def agreed(service: Service, report: ServiceReport | None) -> Service:
    """Return a service as reported by its guest."""
    if service.state is not ServiceState.RUNNING:
        return service
    is_starting = service.owner is not None and is_alive(service.owner)
    if report is None or report.run != service.run:
        if is_starting:
            return service
        return replace(service, state=ServiceState.FAILED, owner=None, problem="its start was interrupted")
    match report.state:
        case GuestServiceState.STARTING:
            return service
        case GuestServiceState.RUNNING:
            if is_starting or service.ready_at is not None:
                return service
            # The process that started it died before it could record this.
            return replace(service, owner=None, ready_at=service.started_at + report.ready_ms / 1000)
        case GuestServiceState.EXITED:
            left = explain_left(report)
            problem = f"its command exited{left}" if left else service.problem
            return replace(ended(service, report), state=ServiceState.EXITED, problem=problem)
        case GuestServiceState.STOPPED:
            return replace(ended(service, report), state=ServiceState.STOPPED, stop_reason=stop_reason(report))
        case GuestServiceState.FAILED:
            if is_starting:
                return service
            problem = service.problem or "its start was interrupted"
            return replace(ended(service, report), state=ServiceState.FAILED, problem=problem)
        case _:
            assert_never(report.state)


def ended(service: Service, report: ServiceReport) -> Service:
    """Return a service whose command has ended, as its guest reports."""
    ended_at = service.started_at + report.ran_ms / 1000
    return replace(service, ended_at=ended_at, exit_code=report.exit_code, owner=None)


def stop_reason(report: ServiceReport) -> str:
    """Return which signal ended a service that was stopped."""
    return "sigkill" if report.killed else "sigterm"


def _with_ports(service: Service) -> Service:
    if not service.ports or is_published(service):
        return service
    problem = _UNPUBLISHED if service.state is ServiceState.RUNNING else service.problem
    return replace(service, ports=(), problem=problem)
