"""A service of a workspace: a command that keeps running under a name, its readiness check and its published ports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pyro_mcp.model.vm import Owner

DEFAULT_READY_TIMEOUT_S = 30
MAX_READY_TIMEOUT_S = 3600
DEFAULT_READY_INTERVAL_MS = 500
MIN_READY_INTERVAL_MS = 10
MAX_READY_INTERVAL_MS = 60_000
MAX_PORTS = 16
MAX_PORT = 65535


class ServiceState(StrEnum):
    """The state of a service: running; ended by itself; never became ready; stopped."""

    RUNNING = "running"
    EXITED = "exited"
    FAILED = "failed"
    STOPPED = "stopped"


class ReadinessKind(StrEnum):
    """The kinds of readiness checks."""

    FILE = "file"
    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Readiness:
    """A readiness check: its kind, and its target (a path, HOST:PORT, a URL, a command line)."""

    kind: ReadinessKind
    target: str


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port on this host's 127.0.0.1 that is forwarded to one of the guest's; `host` 0 means any free port."""

    host: int
    guest: int


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `run` distinguishes this start from others with the same name.

    `ready_at` is None until it is ready. `publisher` is the process that forwards its published ports. `owner` is the
    process that is starting it, until it has started. `stop_reason` is why it ended: sigterm, sigkill,
    readiness_timeout or process_exited_before_ready; `problem` is why it failed, or another problem.
    """

    name: str
    run: str
    command: str | tuple[str, ...]
    cwd: str
    state: ServiceState
    started_at: float
    readiness: Readiness | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    stop_reason: str = ""
    ports: tuple[PublishedPort, ...] = ()
    publisher: Owner | None = None
    owner: Owner | None = None
    problem: str = ""
