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
    """Say what became of a service: it runs; it ended by itself; it never got ready; it was stopped."""

    RUNNING = "running"
    EXITED = "exited"
    FAILED = "failed"
    STOPPED = "stopped"


class ReadinessKind(StrEnum):
    """Name what tells that a service is ready."""

    FILE = "file"
    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Readiness:
    """A check: of which kind, and what it looks at (a path, HOST:PORT, a URL, a shell line)."""

    kind: ReadinessKind
    target: str


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of this host's 127.0.0.1 that leads to one of the guest's; `host` is 0 for any that is free."""

    host: int
    guest: int


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `run` tells this start of its name from others.

    `ready_at` is None until it was ready. `publisher` is the process that carries its published ports. `owner` is the
    process that starts it, until it has. `stop_reason` says why it ended: sigterm, sigkill, readiness_timeout or
    process_exited_before_ready; `problem` why it failed, or what is wrong with it.
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
