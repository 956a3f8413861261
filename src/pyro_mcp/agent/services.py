"""Start, list and stop a guest's services, and read their logs.

Answers are not trusted: states, numbers and sizes are checked, and texts are truncated and sanitized.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pyro_mcp.agent.answers import (
    MAX_DOCUMENT_BYTES,
    MAX_NAME_CHARS,
    ResultReader,
    choice,
    exit_code,
    number,
    objects,
    text,
)
from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.messages import DocumentRequest, breach, printable
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.documents import Document, encode_document

TIMEOUT_S = 15.0
_MAX_DETAIL_CHARS = 200


class GuestServiceState(StrEnum):
    """The state of a service, as reported by its guest."""

    STARTING = services.STARTING
    RUNNING = services.RUNNING
    EXITED = services.EXITED
    FAILED = services.FAILED
    STOPPED = services.STOPPED

    @property
    def is_live(self) -> bool:
        """Return whether its command is running."""
        return self in {GuestServiceState.STARTING, GuestServiceState.RUNNING}


class ServiceProblem(StrEnum):
    """Why a service failed."""

    NONE = ""
    EXITED = "exited"
    NOT_READY = "not_ready"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """Ready when a file exists at an absolute path."""

    path: str

    def fields(self) -> Document:
        """Return the check as the agent reads it."""
        return {"kind": services.READY_FILE, "path": self.path}


@dataclass(frozen=True, slots=True)
class ReadyPort:
    """Ready when one of the addresses accepts a connection on the port; with a request, when it answers 2xx or 3xx."""

    hosts: tuple[str, ...]
    port: int
    request: str = ""

    def fields(self) -> Document:
        """Return the check as the agent reads it."""
        kind = services.READY_HTTP if self.request else services.READY_TCP
        return {"kind": kind, "hosts": list(self.hosts), "port": self.port, "request": self.request}


@dataclass(frozen=True, slots=True)
class ReadyCommand:
    """Ready when a command line succeeds."""

    command: str

    def fields(self) -> Document:
        """Return the check as the agent reads it."""
        return {"kind": services.READY_COMMAND, "command": self.command}


Ready = ReadyFile | ReadyPort | ReadyCommand


@dataclass(frozen=True, slots=True)
class ServiceStart:
    """A service to start. `run` distinguishes this start from all others with the same name.

    `is_line` is as in `ExecRequest`.
    """

    name: str
    run: str
    argv: tuple[str, ...]
    cwd: str
    is_line: bool = False
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    user: str = ""
    ready: Ready | None = None
    timeout_s: float = 30.0
    interval_s: float = 0.5


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """A service, as claimed by its guest. The bytes of its log from `first` to `end` can be read.

    `ran_ms` is how long it ran, once it has ended; `killed` means that it did not end when it was asked to.
    `left_running` is the number of background processes that the command left when it exited with 0, and that were then
    killed.
    """

    name: str
    run: str
    state: GuestServiceState
    exit_code: int | None
    ready_ms: int
    problem: ServiceProblem
    detail: str
    left_running: int
    ran_ms: int
    killed: bool
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Started:
    """The result of a start: a service that is running, or one that failed, with the end of its output."""

    report: ServiceReport
    tail: bytes


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a service's log: `data`, from byte `start` on."""

    report: ServiceReport
    start: int
    data: bytes


def explain_left(report: ServiceReport) -> str:
    """Return an addition to "it exited" if the command put processes in the background, "" if not."""
    if not report.left_running:
        return ""
    count = "a process" if report.left_running == 1 else f"{report.left_running} processes"
    return f" and left {count} in the background, which ended with it: a service must run in the foreground"


class GuestServices:
    """The services of a session's guest. They outlive the session."""

    def __init__(self, session: AgentSession, *, cancel: CancelToken | None = None) -> None:
        self._session = session
        self._cancel = cancel

    def start(self, start: ServiceStart) -> Started:
        """Start a service, and wait until it is ready or has failed. If the session ends meanwhile, it is killed.

        Raises:
            PyroError: NOT_FOUND, PERMISSION, INVALID if the command can't run; CONFLICT if a service with that name is
                running, or too many are; CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        if start.user:
            self._session.require(wire.USERS_OF_ALL, "run as another user")
        fields = {
            "op": services.START,
            "service": start.name,
            "run": start.run,
            "argv": list(start.argv),
            "line": start.is_line,
            "cwd": start.cwd,
            "env": dict(start.env),
            "user": start.user,
            "ready": _ready(start),
            "timeout_ms": _milliseconds(start.timeout_s),
        }
        what = f"start the service {start.name[:MAX_NAME_CHARS]}"
        document, tail = self._asked(fields, what, services.TAIL_BYTES, start.timeout_s + TIMEOUT_S)
        report = _report(document)
        if report.name != start.name or report.run != start.run or report.state is GuestServiceState.STARTING:
            raise breach("a report on a different service")
        if report.ready_ms > (start.timeout_s + TIMEOUT_S) * 1000:
            raise breach("an impossible time until the service was ready")
        return Started(report, tail)

    def list(self, *, timeout_s: float = TIMEOUT_S) -> tuple[ServiceReport, ...]:
        """List the services, oldest first.

        Raises:
            PyroError: CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        document, _ = self._asked({"op": services.LIST}, "list its services", 0, timeout_s)
        reports = tuple(_report(each) for each in objects(document, "services", most=services.MAX_SERVICES))
        if len({each.name for each in reports}) != len(reports):
            raise breach("two services with the same name")
        return reports

    def logs(self, name: str, start: int, *, count: int) -> LogPart:
        """Read at most `count` bytes of a log from `start` on, or of its last `-start` bytes if that is negative.

        Raises:
            PyroError: NOT_FOUND; CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        fields = {"op": services.LOGS, "service": name, "start": start, "count": count}
        document, data = self._asked(fields, "show the service's log", count, TIMEOUT_S)
        report = _report(document)
        at = number(document, "start")
        if report.name != name or not report.first <= at <= at + len(data) <= report.end:
            raise breach("an invalid range of a log")
        return LogPart(report, at, data)

    def stop(self, name: str, *, grace_s: float) -> ServiceReport:
        """Ask a service to end, kill it after `grace_s` seconds, and return how it ended. It may have ended before.

        Raises:
            PyroError: NOT_FOUND; CANCELLED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        fields = {"op": services.STOP, "service": name, "grace_ms": _milliseconds(grace_s)}
        document, _ = self._asked(fields, "stop the service", 0, grace_s + TIMEOUT_S)
        report = _report(document)
        if report.name != name or report.state.is_live:
            raise breach("a stopped service that is running")
        return report

    def _asked(
        self, fields: Mapping[str, object], what: str, most_bytes: int, timeout_s: float
    ) -> tuple[Document, bytes]:
        reader = ResultReader(most_bytes)
        request = DocumentRequest(wire.SERVICE, what, timeout_s, fields)
        self._session.stream(request, on_output=reader.take, cancel=self._cancel)
        return reader.document, bytes(reader.data)


def _report(document: Document) -> ServiceReport:
    state = choice(document, "state", GuestServiceState)
    report = ServiceReport(
        name=text(document, "service"),
        run=text(document, "run"),
        state=state,
        exit_code=exit_code(document, runs=state.is_live),
        ready_ms=number(document, "ready_ms"),
        problem=choice(document, "problem", ServiceProblem),
        detail=printable(text(document, "detail", most=MAX_DOCUMENT_BYTES), _MAX_DETAIL_CHARS),
        left_running=number({"left_running": 0, **document}, "left_running"),
        ran_ms=number({"ran_ms": 0, **document}, "ran_ms"),
        killed=document.get("killed") is True,
        first=number(document, "first"),
        end=number(document, "end"),
    )
    if not report.name or report.first > report.end:
        raise breach("a service without a name, or with an invalid log range")
    return report


def _ready(start: ServiceStart) -> Document | None:
    if start.ready is None:
        return None
    return {**start.ready.fields(), "interval_ms": _milliseconds(start.interval_s)}


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def publish_request(name: str, run: str, ports: tuple[int, ...]) -> bytes:
    """Return the body of a frame that requests connections to a service's ports."""
    return encode_document({"op": services.PUBLISH, "service": name, "run": run, "ports": list(ports)})
