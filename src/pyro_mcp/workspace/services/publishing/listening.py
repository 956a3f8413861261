"""Bind ports of this host's 127.0.0.1 for a service; no other address, and no port that is taken."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.model.service import PublishedPort

HOST = "127.0.0.1"
_BACKLOG = 128


def listen(ports: Sequence[PublishedPort], stack: ExitStack) -> list[tuple[socket.socket, PublishedPort]]:
    """Take the ports, which the stack gives back; a host port of 0 becomes one that was free.

    Raises:
        PyroError: CONFLICT if somebody has one; PERMISSION, UNAVAILABLE.
    """
    return [_listen(port, stack) for port in ports]


def _listen(port: PublishedPort, stack: ExitStack) -> tuple[socket.socket, PublishedPort]:
    listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # A port is free again as soon as nobody listens, whatever is left of its last connections.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port.host))
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _taken(port, error) from error
    return listener, PublishedPort(listener.getsockname()[1], port.guest)


def _taken(port: PublishedPort, error: OSError) -> PyroError:
    details = {"host_port": port.host, "guest_port": port.guest}
    if error.errno == errno.EADDRINUSE:
        return PyroError(
            ErrorCode.CONFLICT,
            f"the port {port.host} of {HOST} is taken by another program",
            hint=f"Publish another one, or `--publish {port.guest}` alone for one that is free.",
            details=details,
        )
    if error.errno == errno.EACCES:
        return PyroError(
            ErrorCode.PERMISSION,
            f"this user may not listen on the port {port.host}",
            hint="Publish a port from 1024 on.",
            details=details,
        )
    return from_os_error(error, f"listen on {HOST}:{port.host}")
