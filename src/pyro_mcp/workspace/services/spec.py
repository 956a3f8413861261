"""Parse the specification of a service: command, readiness checks, ports, with their bounds.

Checks that could never succeed are errors: a page behind TLS, a host name that needs a lookup, an invalid port.
"""

from __future__ import annotations

import posixpath
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
_PORT_KEYS = {"guest_port", "host_port"}
READINESS_KEYS = {
    ReadinessKind.FILE: "path",
    ReadinessKind.TCP: "address",
    ReadinessKind.HTTP: "url",
    ReadinessKind.COMMAND: "command",
}
_MAX_URL_CHARS = 2048


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The specification of a service. `secret_env` maps the name of each secret it gets to a variable.

    The values of `env` are not recorded. Without `user` it runs as root.
    """

    name: str
    command: str | tuple[str, ...]
    cwd: str = WORKSPACE
    readiness: Readiness | None = None
    ready_timeout_s: int = DEFAULT_READY_TIMEOUT_S
    ready_interval_ms: int = DEFAULT_READY_INTERVAL_MS
    secret_env: Mapping[str, str] = field(default_factory=dict[str, str])
    ports: tuple[PublishedPort, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    user: str = ""

    def __post_init__(self) -> None:
        """Check that a guest could run it.

        Raises:
            PyroError: INVALID.
        """
        check_service_name(self.name)
        GuestCommand(self.command, env=self.env)
        if not self.cwd.startswith("/") or "\0" in self.cwd:
            raise PyroError(
                ErrorCode.INVALID,
                f"a service can't run in {self.cwd[:_SHOWN_CHARS]!r}",
                hint="Give an absolute path in the guest.",
            )
        if len(self.ports) > MAX_PORTS:
            raise PyroError(
                ErrorCode.INVALID, f"{len(self.ports)} ports are too many", hint=f"Give at most {MAX_PORTS}."
            )
        hosts = [port.host for port in self.ports if port.host]
        if len(set(hosts)) != len(hosts):
            raise PyroError(
                ErrorCode.INVALID,
                "one port of the host can't forward to two ports of the guest",
                hint="Use a separate one for each.",
            )

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the argument vector."""
        return GuestCommand(self.command).argv

    def ready(self) -> Ready | None:
        """Return the check for the guest's agent.

        Raises:
            PyroError: INVALID.
        """
        if self.readiness is None:
            return None
        target = self.readiness.target
        if not target or "\0" in target:
            raise PyroError(ErrorCode.INVALID, "the readiness check is empty", hint="Give a value to check.")
        match self.readiness.kind:
            case ReadinessKind.FILE:
                return ReadyFile(target)
            case ReadinessKind.TCP:
                return _tcp(target)
            case ReadinessKind.HTTP:
                return _http(target)
            case ReadinessKind.COMMAND:
                return ReadyCommand(target)
            case _:
                assert_never(self.readiness.kind)


def parse_port(given: Mapping[str, int | None]) -> PublishedPort:
    """Parse `{"guest_port": …, "host_port": …}`; without a host port, or with 0, any free one is used.

    Raises:
        PyroError: INVALID.
    """
    guest, host = given.get("guest_port"), given.get("host_port") or 0
    if guest is None or not 0 < guest <= MAX_PORT or not 0 <= host <= MAX_PORT or set(given) - _PORT_KEYS:
        shown = ", ".join(f"{key} {value}" for key, value in given.items())
        raise PyroError(
            ErrorCode.INVALID,
            f"{shown[:_SHOWN_CHARS]!r} is not a port to publish",
            hint="Give guest_port, from 1 to 65535, and optionally host_port. Ports are published on 127.0.0.1 only.",
        )
    return PublishedPort(host, guest)


def _port(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_PORT)):
        return None
    number = int(text)
    return number if 0 < number <= MAX_PORT else None


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
    """Return the addresses of a host: loopback addresses of the guest, or a literal one."""
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


def parse_readiness(given: Mapping[str, str | int] | None) -> Readiness | None:
    """Parse a check: its `type`, and its value under the type's own key. A relative path is below /workspace.

    Raises:
        PyroError: INVALID.
    """
    if not given:
        return None
    match dict(given):
        case {"type": "file", "path": str(path), **rest} if path and not rest:
            return Readiness(ReadinessKind.FILE, posixpath.join(WORKSPACE, path))
        case {"type": "tcp", "address": str(address), **rest} if not rest:
            return Readiness(ReadinessKind.TCP, address)
        case {"type": "tcp", "host": str(host), "port": int(port), **rest} if not rest:
            return Readiness(ReadinessKind.TCP, f"{host}:{port}")
        case {"type": "http", "url": str(url), **rest} if not rest:
            return Readiness(ReadinessKind.HTTP, url)
        case {"type": "command", "command": str(command), **rest} if not rest:
            return Readiness(ReadinessKind.COMMAND, command)
        case _:
            shown = ", ".join(f"{key} {value}" for key, value in given.items())
            raise PyroError(
                ErrorCode.INVALID,
                f"{shown[:_SHOWN_CHARS]!r} is not a readiness check",
                hint="Give an object with a type and its value: file and path, tcp and address (HOST:PORT), http and"
                " url, command and command.",
            )


def shown_readiness(check: Readiness | None) -> dict[str, str] | None:
    """Return a check in the form that `parse_readiness` parses."""
    return None if check is None else {"type": check.kind.value, READINESS_KEYS[check.kind]: check.target}
