"""Parse the specification of a service: command, readiness checks, ports, with their bounds.

Checks that could never succeed are refused: a page behind TLS, a host name that needs a lookup, an invalid port.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from pyro_mcp.agent.services import Ready, ReadyCommand, ReadyFile, ReadyPort
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.naming import check_service_name
from pyro_mcp.model.service import (
    DEFAULT_READY_INTERVAL_MS,
    DEFAULT_READY_TIMEOUT_S,
    MAX_PORT,
    MAX_PORTS,
    PublishedPort,
    Readiness,
    ReadinessKind,
)
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.workspace.machines.command import GuestCommand

_LOOPBACK = ("127.0.0.1", "::1")
_ANY = {"localhost", "0.0.0.0", "::", "*", ""}  # noqa: S104 - what people write for a server that listens on all
_HTTP_PORT = 80
_SHOWN_CHARS = 100
_MAX_URL_CHARS = 2048


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service to be started. `secret_env` has the variable of each secret that it gets."""

    name: str
    command: str | tuple[str, ...]
    cwd: str = WORKSPACE
    readiness: Readiness | None = None
    ready_timeout_s: int = DEFAULT_READY_TIMEOUT_S
    ready_interval_ms: int = DEFAULT_READY_INTERVAL_MS
    secret_env: Mapping[str, str] = field(default_factory=dict[str, str])
    ports: tuple[PublishedPort, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no guest could run.

        Raises:
            PyroError: INVALID.
        """
        check_service_name(self.name)
        GuestCommand(self.command)
        if not self.cwd.startswith("/") or "\0" in self.cwd:
            raise PyroError(
                ErrorCode.INVALID,
                f"a service can't run in {self.cwd[:_SHOWN_CHARS]!r}",
                hint="Give an absolute path in the guest.",
            )
        if len(self.ports) > MAX_PORTS:
            raise PyroError(ErrorCode.INVALID, f"{len(self.ports)} ports are too many", hint=f"Give up to {MAX_PORTS}.")
        hosts = [port.host for port in self.ports if port.host]
        if len(set(hosts)) != len(hosts):
            raise PyroError(
                ErrorCode.INVALID, "one port of the host can't lead to two of the guest", hint="Give each its own."
            )

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the argument vector."""
        return GuestCommand(self.command).argv

    def ready(self) -> Ready | None:
        """Return the check as the guest's agent takes it.

        Raises:
            PyroError: INVALID.
        """
        if self.readiness is None:
            return None
        target = self.readiness.target
        if not target or "\0" in target:
            raise PyroError(ErrorCode.INVALID, "the check of readiness says nothing", hint="Say what is to be checked.")
        match self.readiness.kind:
            case ReadinessKind.FILE:
                return ReadyFile(target if target.startswith("/") else f"{self.cwd.rstrip('/')}/{target}")
            case ReadinessKind.TCP:
                return _tcp(target)
            case ReadinessKind.HTTP:
                return _http(target)
            case ReadinessKind.COMMAND:
                return ReadyCommand(target)
            case _:
                assert_never(self.readiness.kind)


def parse_port(text: str) -> PublishedPort:
    """Read `[HOST:]GUEST`; without a port of the host, or with 0, any that is free is taken.

    Raises:
        PyroError: INVALID.
    """
    host, colon, guest = text.rpartition(":")
    numbers = [_port(part, least=least) for part, least in ((host or "0", 0), (guest, 1))]
    if None in numbers or (colon and not host):
        raise PyroError(
            ErrorCode.INVALID,
            f"{text[:_SHOWN_CHARS]!r} is not a port to publish",
            hint="Give the guest's port, from 1 to 65535, or HOST_PORT:GUEST_PORT, such as 18080:8080. Ports are"
            " published on 127.0.0.1 alone.",
        )
    return PublishedPort(numbers[0] or 0, numbers[1] or 0)


def _port(text: str, *, least: int = 1) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_PORT)):
        return None
    number = int(text)
    return number if least <= number <= MAX_PORT else None


def _tcp(target: str) -> ReadyPort:
    host, _, port = target.rpartition(":")
    number = _port(port)
    if number is None:
        raise PyroError(
            ErrorCode.INVALID,
            f"{target[:_SHOWN_CHARS]!r} is not an address to check",
            hint="Give HOST:PORT, such as 127.0.0.1:8080.",
        )
    return ReadyPort(_hosts(host), number)


def _http(url: str) -> ReadyPort:
    scheme, separator, rest = url.partition("://")
    if scheme.lower() == "https":
        raise PyroError(
            ErrorCode.INVALID,
            "a page behind TLS can't be checked for readiness",
            hint="Use a command instead: `--ready-command 'curl -fsk https://…'`.",
        )
    is_sound = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MAX_URL_CHARS
    if not separator or scheme.lower() != "http" or not is_sound:
        raise _bad_url(url)
    cut = min((rest.find(each) for each in "/?#" if each in rest), default=len(rest))
    address, path = rest[:cut], rest[cut:].partition("#")[0]
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, number = address, _HTTP_PORT
    else:
        number = _port(port)
    if number is None or "@" in address or not host:
        raise _bad_url(url)
    path = path if path.startswith("/") else f"/{path}"
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: pyro\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return ReadyPort(_hosts(host), number, request)


def _bad_url(url: str) -> PyroError:
    return PyroError(
        ErrorCode.INVALID,
        f"{url[:_SHOWN_CHARS]!r} is not a URL to check",
        hint="Give one such as http://127.0.0.1:8080/health.",
    )


def _hosts(host: str) -> tuple[str, ...]:
    """Return the addresses that a host stands for: the guest's own, or one that is spelled out."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare.lower() in _ANY:
        return _LOOPBACK
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare)
        except (OSError, ValueError):
            continue
        return (bare,)
    raise PyroError(
        ErrorCode.INVALID,
        f"{host[:_SHOWN_CHARS]!r} is not an address that can be checked",
        hint="Give localhost or an IP address. For a name, use a command: `--ready-command 'curl -fs http://NAME/'`.",
    )


def parse_readiness(given: Mapping[str, str] | None) -> Readiness | None:
    """Read a check that is given as its kind and what it looks at.

    Raises:
        PyroError: INVALID.
    """
    if not given:
        return None
    kinds = {kind.value for kind in ReadinessKind}
    if len(given) > 1 or not kinds.issuperset(given):
        raise PyroError(
            ErrorCode.INVALID,
            f"{', '.join(sorted(given))[:_SHOWN_CHARS]!r} is not one check of readiness",
            hint=f"Give one of {', '.join(sorted(kinds))}, and what it looks at.",
        )
    ((kind, target),) = given.items()
    return Readiness(ReadinessKind(kind), target)
