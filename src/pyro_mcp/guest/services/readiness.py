"""Check whether a service is ready: a file exists, a port takes a connection, a page answers, a command succeeds.

Checks are frequent at first, since most services are up soon, then as far apart as was asked. Each is part of the
agent's loop, which never waits for one.
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

    # Told why it is not ready; "" if it is.
    Tell = Callable[[str], None]

_FIRST_S = 0.01
_GROWTH = 1.5
# Most services are up within this time: until then, they are not kept waiting for longer than that.
_CLOSELY_S = 2.0
_CLOSE_S = 0.04
# A command costs more to ask than a port.
_FIRST_COMMAND_S, _CLOSE_COMMAND_S = 0.05, 0.2
# One check of many; a server that takes longer to answer is asked again.
_ATTEMPT_S = 10.0
_READ_BYTES = 65536
_STATUS_LINE_BYTES = 64
_PROBE_S = 0.2
_OK_STATUSES = (b"2", b"3")


class Check(Protocol):
    """A check that is being made."""

    def close(self) -> None:
        """Break it off, or forget it."""
        ...


class Readiness:
    """Asks again and again until the answer is yes. `detail` says what the last answer was."""

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
        """Ask no more."""
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
        # It may have been answered while it was made.
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
            # Not at once: a check that is answered while it is made must find that it is.
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
    """Return what makes one check of the kind that is wanted. `command_body` is EXEC's body for a shell line.

    Raises:
        RefusalError: if there is no such kind.
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
            raise RefusalError(wire.BAD_REQUEST, f"there is no check of the kind {kind!r}")


def refuse_if_answered(wanted: Document, others: Iterable[Document | None]) -> None:
    """Check that nobody but the service can answer at the guest's own port that will tell when it is ready.

    `others` are the checks of the services that are starting.

    Raises:
        RefusalError: if somebody does, or may soon: the service would be taken for ready whatever becomes of it.
    """
    addresses = set(_addresses(wanted))
    for host, port in addresses:
        if any((host, port) in _addresses(other or {}) for other in others) or _is_taken(host, port):
            raise RefusalError(wire.PORT_ANSWERED, f"port {port} is answered already")


def _addresses(wanted: Document) -> list[tuple[str, int]]:
    return [(str(host), cast("int", wanted["port"])) for host in cast("list[object]", wanted.get("hosts") or [])]


def _is_taken(host: str, port: int) -> bool:
    """Say whether something listens at an address of this guest's: where it does not, connecting is refused at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as local:
            local.bind((host, 0))
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_S)
            return probe.connect_ex((host, port)) != errno.ECONNREFUSED
    except OSError:
        # Not this guest's own, or no such protocol here.
        return False


class FileCheck:
    """Is there a file, and not the one that an earlier start left behind?"""

    def __init__(self, before: FileVersion | None, now: FileVersion | None, tell: Tell) -> None:
        if now is None:
            tell("there is no such file")
        else:
            tell("" if now != before else "the file is older than this start, and has not changed since")

    def close(self) -> None:
        """Do nothing: it was answered at once."""


class PortCheck:
    """Does one of the addresses take a connection; and, where there is a request, answer it with 2xx or 3xx?"""

    def __init__(self, loop: Loop, addresses: Sequence[tuple[str, int]], request: bytes, tell: Tell) -> None:
        self._loop = loop
        self._addresses = list(addresses)
        self._request = request
        self._tell = tell
        self._answer = b""
        self._socket: socket.socket | None = None
        self._try_next(errno.ECONNREFUSED)

    def close(self) -> None:
        """Hang up."""
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
            self._say("")
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
            self._say("" if is_good else f"it answers with HTTP {words[1].decode('ascii', 'replace')}")
        elif not data or len(self._answer) >= _STATUS_LINE_BYTES:
            self._say("what it answers is not HTTP")

    def _say(self, problem: str) -> None:
        self.close()
        self._tell(problem)


class CommandCheck:
    """Does a command succeed? What it prints is of no interest."""

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
        """Kill it, if it has not ended; its resources are released when it has."""
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
