"""Start a service in a workspace and wait until it is ready.

Order: the host's ports, which may be in use; the service; its record, before anything can outlive this process; the
forwarding. A service that never becomes ready is not left running.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyro_mcp.agent.services import GuestServices, GuestServiceState, ServiceProblem, ServiceStart, explain_left
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.model.service import Service, ServiceState
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.journal import note_activity
from pyro_mcp.state.service_records import ServiceRecords, end_publisher, is_published
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.secrets.keeping import secret_variables, secrets_of
from pyro_mcp.workspace.secrets.redactor import Redactor
from pyro_mcp.workspace.services.inspect import ended, services_of, stop_reason
from pyro_mcp.workspace.services.publishing.publisher import publisher

if TYPE_CHECKING:
    from pyro_mcp.agent import CancelToken
    from pyro_mcp.agent.services import Started
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.guest import GuestUse
    from pyro_mcp.workspace.services.publishing.publisher import Publisher
    from pyro_mcp.workspace.services.spec import ServiceSpec

# Each uses a lane of its own, and there are sixteen in all.
MAX_PUBLISHING = 8
_SHOWN_OUTPUT_CHARS = 2000
_RUN_BYTES = 8


@dataclass(frozen=True, slots=True)
class StartedService:
    """A service that is ready or has failed, in the latter case with the end of its output."""

    workspace: Workspace
    service: Service
    last_output: str = ""


def start_service(
    engine: Engine, handle: str, spec: ServiceSpec, *, cancel: CancelToken | None = None
) -> StartedService:
    """Start a service, starting the workspace if necessary, and return when it is ready or has failed.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if a service of that name runs, or a port is in use; UNSUPPORTED for ports in
            host compat; NOT_FOUND, PERMISSION, INVALID if the command can't run; CANCELLED; GUEST_LOST.
    """
    ready = spec.ready()
    with guest_of(engine, handle, activity=False) as use, ExitStack() as stack:
        workspace = use.workspace
        _check_ports(engine, workspace, spec)
        secrets = secrets_of(engine.paths, workspace)
        redactor = Redactor(each.value for each in secrets)
        variables = secret_variables(workspace, secrets, spec.secret_env)
        run = os.urandom(_RUN_BYTES).hex()
        carrier = None
        if spec.ports:
            place = use.machine.record.runtime_dir
            carrier = stack.enter_context(publisher(place, use.vm.id, spec.name, run, spec.ports))
        start = ServiceStart(
            name=spec.name,
            run=run,
            argv=spec.argv,
            cwd=spec.cwd,
            is_line=isinstance(spec.command, str),
            env={**use.vm.variables, **spec.env, **variables},
            user=spec.user,
            ready=ready,
            timeout_s=spec.ready_timeout_s,
            interval_s=spec.ready_interval_ms / 1000,
        )
        try:
            service = _start(engine, use, spec, start, carrier, redactor, cancel)
        except PyroError as error:
            raise redactor.error(error) from None
    return StartedService(workspace, *service)


def _start(
    engine: Engine,
    use: GuestUse,
    spec: ServiceSpec,
    start: ServiceStart,
    carrier: Publisher | None,
    redactor: Redactor,
    cancel: CancelToken | None,
) -> tuple[Service, str]:
    records = ServiceRecords(VmFiles(engine.paths, use.vm.id))
    service = Service(
        name=spec.name,
        run=start.run,
        command=redactor.command(spec.command),
        cwd=redactor.text(spec.cwd),
        state=ServiceState.RUNNING,
        started_at=engine.clock.wall_s(),
        readiness=spec.readiness and replace(spec.readiness, target=redactor.text(spec.readiness.target)),
        owner=this_process(),
    )
    with records.locked():
        previous = records.find(spec.name)
        if previous is not None and previous.state is not ServiceState.RUNNING:
            # It should already have ended.
            end_publisher(previous)
        records.put(service)
    fault_point("ws_service.recorded")
    try:
        with use.session(use=LaneUse.COMMAND) as session:
            started = GuestServices(session, cancel=cancel).start(start)
    except BaseException:
        # It never started: restore the previous service of that name.
        with suppress(PyroError):
            _take_back(records, service, previous)
        raise
    fault_point("ws_service.started")
    if started.report.state is not GuestServiceState.RUNNING:
        return _failed(engine, use, records, service, started, redactor, spec)
    ready_at = service.started_at + started.report.ready_ms / 1000
    service = replace(service, ready_at=ready_at, owner=None)
    if carrier is not None:
        service = replace(service, ports=carrier.ports, publisher=carrier.owner)
    with records.locked():
        records.put(service)
    fault_point("ws_service.ready")
    if carrier is not None:
        _publish(use, records, service, carrier)
    ports = "".join(f", 127.0.0.1:{port.host} leads to its port {port.guest}" for port in service.ports)
    _note(engine, use.workspace, spec.name, f"ready after {started.report.ready_ms} ms{ports}")
    return service, ""


def _publish(use: GuestUse, records: ServiceRecords, service: Service, carrier: Publisher) -> None:
    try:
        carrier.begin()
    except BaseException as error:
        with suppress(PyroError), use.session() as session:
            GuestServices(session).stop(service.name, grace_s=1.0)
        with suppress(PyroError):
            end_publisher(service)
            problem = error.message if isinstance(error, PyroError) else "its start was cancelled"
            gone = replace(service, state=ServiceState.FAILED, ports=(), publisher=None, problem=problem)
            records.update(service.name, service.run, lambda _: gone)
        raise


def _take_back(records: ServiceRecords, service: Service, previous: Service | None) -> None:
    with records.locked():
        now = records.find(service.name)
        if now is None or now.run != service.run:
            return
        if previous is not None:
            records.put(previous)
        else:
            records.forget(service.name)


def _failed(
    engine: Engine,
    use: GuestUse,
    records: ServiceRecords,
    service: Service,
    started: Started,
    redactor: Redactor,
    spec: ServiceSpec,
) -> tuple[Service, str]:
    report = started.report
    reason = "process_exited_before_ready"
    if report.problem is ServiceProblem.NOT_READY:
        reason = "readiness_timeout"
        why = f"was not ready within {spec.ready_timeout_s} s"
        if report.detail:
            why += f": {redactor.text(report.detail)}"
    elif report.state is GuestServiceState.STOPPED:
        reason, why = stop_reason(report), "was stopped while it started"
    else:
        why = f"exited with {report.exit_code} before it was ready{explain_left(report)}"
    failed = replace(
        ended(service, report),
        state=ServiceState.STOPPED if report.state is GuestServiceState.STOPPED else ServiceState.FAILED,
        stop_reason=reason,
        problem=why,
    )
    records.update(service.name, service.run, lambda _: failed)
    _note(engine, use.workspace, service.name, why)
    tail = started.tail
    if len(tail) < report.end and not redactor.is_idle:
        # It may begin with the end of a value, which can't be recognized.
        tail = b""
    return failed, redactor.data(tail).decode("utf-8", "replace")[-_SHOWN_OUTPUT_CHARS:]


def _check_ports(engine: Engine, workspace: Workspace, spec: ServiceSpec) -> None:
    if not spec.ports:
        return
    if workspace.is_host_compat:
        raise PyroError(
            ErrorCode.UNSUPPORTED,
            f"the workspace {workspace.title} can't publish ports: its services run on this host itself",
            hint="They listen on this host already: connect to the port that the service opened.",
        )
    publishing = [each for each in services_of(engine, workspace) if each.name != spec.name and is_published(each)]
    if len(publishing) >= MAX_PUBLISHING:
        raise PyroError(
            ErrorCode.CONFLICT,
            f"{len(publishing)} services of the workspace {workspace.title} already publish ports",
            hint="Stop one of them. A service may publish several ports.",
        )


def _note(engine: Engine, workspace: Workspace, name: str, what: str) -> None:
    with suppress(PyroError):
        note_activity(
            engine.store,
            engine.clock,
            workspace.id,
            event=ReviewEvent(ReviewKind.SERVICE, {"service": name, "what": what}),
        )
