"""Start the process that forwards a service's published ports.

It exists before the service does and begins on command. If its parent dies before the service's record names it, it
ends too. Ports are published on 127.0.0.1 only.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host import process, programs
from pyro_mcp.host.process import Child
from pyro_mcp.host.process.own_python import own_python
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.service import PublishedPort
from pyro_mcp.model.vm import Owner

_CARRY = "pyro_mcp.workspace.services.publishing.carrier:main"
_READY = b"ok"
_START_TIMEOUT_S = 20.0
_MAX_LINE_BYTES = 4096


class Publisher:
    """The process, waiting for `begin`."""

    def __init__(self, child: Child, ports: tuple[PublishedPort, ...]) -> None:
        self._child = child
        self.ports = ports

    @property
    def owner(self) -> Owner:
        """Return the identity of the process, for the service's record."""
        return Owner(self._child.pid, self._child.start_time, process.boot_id())

    def begin(self) -> None:
        """Start accepting connections, and wait until it does.

        Raises:
            PyroError: UNAVAILABLE, with the reason; TIMEOUT.
        """
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - it was started with pipes
        try:
            os.write(stdin, b"begin\n")
        except BrokenPipeError:
            raise _refused("its helper process has ended") from None
        deadline = Deadline(_START_TIMEOUT_S, "the published ports to accept connections")
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
            poller = select.poll()
            poller.register(stdout, select.POLLIN)
            if not poller.poll(deadline.remaining_s() * 1000):
                deadline.check()
                continue
            data = os.read(stdout, _MAX_LINE_BYTES)
            if not data:
                break
            line += data
        if line.strip() != _READY:
            words = line.decode("utf-8", "replace").strip()
            raise _refused(words if words.isprintable() and words else "its helper process has ended")


@contextmanager
def publisher(
    runtime_dir: str, vm_id: str, service: str, run: str, ports: Sequence[PublishedPort]
) -> Generator[Publisher]:
    """Listen on the ports of this host, and start the process that will forward them; a failing block ends it.

    Raises:
        PyroError: CONFLICT if a port is in use; PERMISSION, UNAVAILABLE, MISSING_PROGRAM.
    """
    with ExitStack() as stack:
        listeners = listen(ports, stack)
        pairs = ",".join(f"{listener.fileno()}:{port.guest}" for listener, port in listeners)
        child = process.start(
            own_python(_CARRY, runtime_dir, vm_id, service, run, pairs),
            # Without the caller's environment: it may hold secrets, and the process outlives the caller.
            env={"PATH": os.pathsep.join(programs.search_path())},
            cwd="/",
            stdin=process.PIPE,
            stdout=process.PIPE,
            pass_fds=[listener.fileno() for listener, _ in listeners],
            umask=0o077,
            detached=True,
        )
        with child:
            yield Publisher(child, tuple(port for _, port in listeners))


def _refused(why: str) -> PyroError:
    return PyroError(
        ErrorCode.UNAVAILABLE,
        f"the ports can't be published: {why}",
        hint="Start the service again; its log may say more.",
    )


HOST = "127.0.0.1"
_BACKLOG = 128


def listen(ports: Sequence[PublishedPort], stack: ExitStack) -> list[tuple[socket.socket, PublishedPort]]:
    """Listen on the ports until the stack is closed; a host port of 0 is replaced by a free one.

    Raises:
        PyroError: CONFLICT if a port is in use; PERMISSION, UNAVAILABLE.
    """
    return [_listen(port, stack) for port in ports]


def _listen(port: PublishedPort, stack: ExitStack) -> tuple[socket.socket, PublishedPort]:
    listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # A port is free as soon as nothing listens on it, even with old connections in TIME_WAIT.
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
            f"the port {port.host} of {HOST} is in use by another program",
            hint=f"Publish another port, or use `--publish {port.guest}` for any free one.",
            details=details,
        )
    if error.errno == errno.EACCES:
        return PyroError(
            ErrorCode.PERMISSION,
            f"this user may not listen on port {port.host}",
            hint="Publish a port of 1024 or above.",
            details=details,
        )
    return from_os_error(error, f"listen on {HOST}:{port.host}")
