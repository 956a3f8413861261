"""Check whether a service is ready: a file exists, a port accepts connections, a URL responds, a command succeeds.

Checks are frequent at first, since most services start quickly, then as far apart as requested. They run in the agent's
event loop and never block it.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Protocol, cast

from pyro_mcp.guest.detached import start_detached
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import services, wire
from pyro_mcp.protocol.loop import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyro_mcp.guest.machine import FileVersion, Machine
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Deadline, Loop

    # Called with the reason why the service is not ready; "" if it is ready.
    Tell = Callable[[str], None]

_FIRST_S = 0.01
_GROWTH = 1.5
# Most services start within _CLOSELY_S: until then, checks are at most _CLOSE_S apart.
_CLOSELY_S = 2.0
_CLOSE_S = 0.04
# Running a command costs more than probing a port.
_FIRST_COMMAND_S, _CLOSE_COMMAND_S = 0.05, 0.2
# The timeout of a single check, after which it is repeated.
_ATTEMPT_S = 10.0
_READ_BYTES = 65536
_STATUS_LINE_BYTES = 64
_PROBE_S = 0.2
_OK_STATUSES = (b"2", b"3")


class Check(Protocol):
    """A check in progress."""

    def close(self) -> None:
        """Abort the check, or release its resources."""
        ...


class Readiness:
    """Repeats a check until it succeeds. `detail` is the reason of the last failure."""

    def __init__(
        self, machine: Machine, wanted: Document, make: Callable[[Tell], Check], on_ready: Callable[[], None]
    ) -> None:
        self.detail = ""
        self._loop = machine.loop
        self._make = make
        self._on_ready = on_ready
        self._check: Check | None = None
        self._closed = False
        self._is_asking = False
        self._longest_s = cast("int", wanted["interval_ms"]) / 1000
        is_command = wanted["kind"] == services.READY_COMMAND
        self._next_s = _FIRST_COMMAND_S if is_command else _FIRST_S
        self._close_s = _CLOSE_COMMAND_S if is_command else _CLOSE_S
        self._closely_until_s = time.monotonic() + _CLOSELY_S
        self._deadline: Deadline | None = None
        self._plan()

    def close(self) -> None:
        """Stop checking."""
        self._closed = True
        if self._deadline is not None:
            self._loop.cancel(self._deadline)
        self._end_check()

    def _plan(self) -> None:
        wait_s = min(self._next_s, self._longest_s)
        self._next_s *= _GROWTH
        if time.monotonic() < self._closely_until_s:
            self._next_s = min(self._next_s, self._close_s)
        self._deadline = self._loop.at(wait_s, self._ask)

    def _ask(self) -> None:
        self._deadline = self._loop.at(_ATTEMPT_S, lambda: self._tell("no answer in time"))
        self._is_asking = True
        try:
            check = self._make(self._tell)
        except (OSError, RefusalError) as error:
            self._tell(str(error))
            return
        # The constructor may already have reported a result.
        if self._has_answer():
            check.close()
        else:
            self._check = check

    def _has_answer(self) -> bool:
        return not self._is_asking

    def _tell(self, problem: str) -> None:
        self._is_asking = False
        if self._deadline is not None:
            self._loop.cancel(self._deadline)
            self._deadline = None
        self._end_check()
        if self._closed:
            return
        self.detail = problem
        if problem:
            # Deferred, so that a check that fails in its constructor is recognized as finished (`_has_answer`).
            self._loop.later(self._plan_unless_closed)
        else:
            self._closed = True
            self._on_ready()

    def _plan_unless_closed(self) -> None:
        if not self._closed:
            self._plan()

    def _end_check(self) -> None:
        check, self._check = self._check, None
        if check is not None:
            check.close()


def check_for(machine: Machine, wanted: Document, command_body: Callable[[str], bytes]) -> Callable[[Tell], Check]:
    """Return a factory for single checks. `command_body` returns the body of EXEC for a command line.

    Raises:
        RefusalError: if the kind of check is unknown.
    """
    match wanted["kind"]:
        case services.READY_FILE:
            path = os.fsencode(str(wanted["path"]))
            before = machine.file_version(path)
            return lambda tell: FileCheck(before, machine.file_version(path), tell)
        case services.READY_TCP | services.READY_HTTP:
            addresses = _addresses(wanted)
            request = str(wanted.get("request") or "").encode("ascii")
            return lambda tell: PortCheck(machine.loop, addresses, request, tell)
        case services.READY_COMMAND:
            body = command_body(str(wanted["command"]))
            return lambda tell: CommandCheck(machine, body, tell)
        case kind:
            raise RefusalError(wire.BAD_REQUEST, f"unknown kind of readiness check: {kind!r}")


def refuse_if_answered(wanted: Document, others: Iterable[Document | None]) -> None:
    """Check that only the new service can answer on the guest's port that its readiness check probes.

    `others` are the checks of the services that are starting.

    Raises:
        RefusalError: if another process answers there, or may soon: the new service would always appear ready.
    """
    addresses = set(_addresses(wanted))
    for host, port in addresses:
        if any((host, port) in _addresses(other or {}) for other in others) or _is_taken(host, port):
            raise RefusalError(wire.PORT_ANSWERED, f"port {port} is already in use")


def _addresses(wanted: Document) -> list[tuple[str, int]]:
    return [(str(host), cast("int", wanted["port"])) for host in cast("list[object]", wanted.get("hosts") or [])]


def _is_taken(host: str, port: int) -> bool:
    """Return whether a process listens on a local address of this guest; if not, connecting is refused immediately."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as local:
            local.bind((host, 0))
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_S)
            return probe.connect_ex((host, port)) != errno.ECONNREFUSED
    except OSError:
        # Not a local address, or the protocol is not supported.
        return False


class FileCheck:
    """Succeeds if the file exists and is not left over from an earlier start."""

    def __init__(self, before: FileVersion | None, now: FileVersion | None, tell: Tell) -> None:
        if now is None:
            tell("no such file")
        else:
            tell("" if now != before else "the file existed before the service was started, and has not changed since")

    def close(self) -> None:
        """Do nothing: the constructor reports the result."""


class PortCheck:
    """Succeeds if one of the addresses accepts a connection and, if there is a request, answers it with 2xx or 3xx."""

    def __init__(self, loop: Loop, addresses: Sequence[tuple[str, int]], request: bytes, tell: Tell) -> None:
        self._loop = loop
        self._addresses = list(addresses)
        self._request = request
        self._tell = tell
        self._answer = b""
        self._socket: socket.socket | None = None
        self._try_next(errno.ECONNREFUSED)

    def close(self) -> None:
        """Close the connection."""
        connection, self._socket = self._socket, None
        if connection is not None:
            self._loop.remove(connection.fileno())
            connection.close()

    def _try_next(self, problem: int) -> None:
        self.close()
        while self._addresses:
            host, port = self._addresses.pop(0)
            connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
            number = connection.connect_ex((host, port))
            if number in {0, errno.EINPROGRESS}:
                self._socket = connection
                self._loop.add(connection.fileno(), self._on_connected, WRITABLE)
                return
            connection.close()
            problem = number
        self._tell(os.strerror(problem).lower())

    def _on_connected(self, mask: int) -> None:
        del mask
        connection = self._socket
        if connection is None:
            return
        problem = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._try_next(problem)
        elif not self._request:
            self._finish("")
        else:
            try:
                connection.send(self._request)
            except OSError as error:
                self._try_next(error.errno or errno.EIO)
                return
            self._loop.remove(connection.fileno())
            self._loop.add(connection.fileno(), self._on_answer, READABLE)

    def _on_answer(self, mask: int) -> None:
        del mask
        connection = self._socket
        if connection is None:
            return
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._try_next(error.errno or errno.EIO)
            return
        self._answer += data[:_STATUS_LINE_BYTES]
        line = self._answer.split(b"\r\n", 1)[0].split(b"\n", 1)[0]
        words = line.split()
        if len(words) > 1 and line.startswith(b"HTTP/") and len(words[1]) == 3:
            is_good = words[1][:1] in _OK_STATUSES
            self._finish("" if is_good else f"it answers with HTTP {words[1].decode('ascii', 'replace')}")
        elif not data or len(self._answer) >= _STATUS_LINE_BYTES:
            self._finish("the response is not HTTP")

    def _finish(self, problem: str) -> None:
        self.close()
        self._tell(problem)


class CommandCheck:
    """Succeeds if a command exits with 0. Its output is discarded."""

    def __init__(self, machine: Machine, body: bytes, tell: Tell) -> None:
        self._loop = machine.loop
        self._tell = tell
        self._over = False
        self._process: Process = start_detached(machine, body)
        pipes = self._process.pipes
        pipes.close("stdin")
        pipes.close_theirs()
        self._streams = [pipes.stdout, pipes.stderr]
        for fd in self._streams:
            self._loop.add(fd, lambda mask, fd=fd: self._swallow(fd))  # noqa: ARG005
        self._loop.add(self._process.exit_fd, self._on_exit)

    def close(self) -> None:
        """Kill the command if it still runs; its resources are released when it has ended."""
        if not self._over:
            self._over = True
            self._process.kill()

    def _swallow(self, fd: int) -> None:
        try:
            if os.read(fd, _READ_BYTES):
                return
        except BlockingIOError:
            return
        self._streams.remove(fd)
        self._loop.remove(fd)

    def _on_exit(self, mask: int) -> None:
        del mask
        was_over, self._over = self._over, True
        self._loop.remove(self._process.exit_fd)
        for fd in self._streams:
            self._loop.remove(fd)
        code = self._process.status()
        self._process.kill()
        self._process.close()
        if not was_over:
            self._tell(f"the command exited with {code}" if code else "")
