"""Services: commands that outlive who started them, each with a name, a log, and a moment when it is ready.

Owns the table of them, what is asked about them, and that each ends with all it started. Refuses to hold more of them,
or more of their output, than the limits allow.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.apart import begin_apart, discard
from pyro_mcp.guest.process import failure_of
from pyro_mcp.guest.readiness import Readiness, check_for
from pyro_mcp.guest.replies import Reply
from pyro_mcp.guest.service_log import ServiceLog
from pyro_mcp.guest.spawner import RefusalError
from pyro_mcp.guest.tunnel import Tunnel
from pyro_mcp.protocol import services, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Deadline
    from pyro_mcp.guest.operations import Machine
    from pyro_mcp.guest.process import Process
    from pyro_mcp.guest.session import Session
    from pyro_mcp.protocol.documents import Document

_EXEC = struct.Struct(wire.EXEC_FORMAT)
_LIVE = {services.STARTING, services.RUNNING}


class Service:
    """A command, from the moment that it is asked for until it is forgotten."""

    def __init__(self, machine: Machine, name: str, run: str, process: Process) -> None:
        self.name = name
        self.run = run
        self.state = services.STARTING
        self.exit_code: int | None = None
        self.ready_ms = 0
        self.problem = ""
        self.detail = ""
        self.log = ServiceLog(machine.loop)
        self.tunnels: list[Tunnel] = []
        self.when_started: list[Callable[[], None]] = []
        self.when_ended: list[Callable[[], None]] = []
        self._loop = machine.loop
        self._process = process
        self._began_s = time.monotonic()
        self._deadlines: list[Deadline] = []
        self._readiness: Readiness | None = None
        self._stopping = False
        self._loop.add(process.exit_fd, self._on_exit)

    @property
    def is_live(self) -> bool:
        """Say whether its command runs."""
        return self.state in _LIVE

    def report(self) -> Document:
        """Return what is known of it."""
        return {
            "service": self.name,
            "run": self.run,
            "state": self.state,
            "exit_code": self.exit_code,
            "ready_ms": self.ready_ms,
            "problem": self.problem,
            "detail": self.detail,
            "first": self.log.start,
            "end": self.log.end,
        }

    def follow(self) -> None:
        """Go on once the command is there: its pipes are its log."""
        pipes = self._process.pipes
        pipes.close("request", "stdin", "error")
        # Only so does the end of a stream show.
        pipes.close_theirs()
        self.log.follow(pipes)

    def become_ready_when(self, readiness: Callable[[Callable[[], None]], Readiness] | None, timeout_ms: int) -> None:
        """Be running once the checks say so, or when it has run for a moment; after `timeout_ms` it has failed."""
        if readiness is None:
            self._deadlines.append(self._loop.at(services.SETTLE_MS / 1000, self._on_ready))
            return
        self._deadlines.append(self._loop.at(timeout_ms / 1000, lambda: self.fail("not_ready")))
        self._readiness = readiness(self._on_ready)

    def fail(self, problem: str) -> None:
        """Kill it: it has failed when it is gone."""
        if self.state == services.STARTING and not self.problem:
            self.problem = problem
            self._stop_checking()
            self._process.kill()

    def end(self, grace_s: float, when_ended: Callable[[], None]) -> None:
        """Ask it to end, and kill it if it has not after `grace_s`; `when_ended` is called when it is gone."""
        self.when_ended.append(when_ended)
        self._stop_checking()
        if not self._stopping:
            self._stopping = True
            self._process.ask_to_end()
        self._deadlines.append(self._loop.at(grace_s, self._process.kill))

    def _stop_checking(self) -> None:
        for deadline in self._deadlines:
            self._loop.cancel(deadline)
        self._deadlines.clear()
        if self._readiness is not None:
            self.detail = self._readiness.detail
            self._readiness.close()
            self._readiness = None

    def _on_ready(self) -> None:
        self._stop_checking()
        self.detail = ""
        self.ready_ms = int((time.monotonic() - self._began_s) * 1000)
        self.state = services.RUNNING
        self._call(self.when_started)

    def _on_exit(self, mask: int) -> None:
        del mask
        self._loop.remove(self._process.exit_fd)
        self.exit_code = self._process.status()
        self._stop_checking()
        if self._stopping:
            self.state = services.STOPPED
        elif self.state == services.STARTING:
            self.state = services.FAILED
            self.problem = self.problem or "exited"
        else:
            self.state = services.EXITED
        # A service is one command with all that it started.
        self._process.kill()
        self.log.finish()
        if self._process.pipes.error >= 0:
            self._loop.remove(self._process.pipes.error)
        self._process.close()
        for tunnel in self.tunnels.copy():
            tunnel.finish()
        self._call(self.when_started)
        self._call(self.when_ended)

    def _call(self, calls: list[Callable[[], None]]) -> None:
        waiting = calls.copy()
        calls.clear()
        for call in waiting:
            call()


class Services:
    """The services of a guest."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._services: dict[str, Service] = {}
        self._table = {
            services.START: self._start,
            services.LIST: self._list,
            services.LOGS: self._logs,
            services.STOP: self._stop,
            services.PUBLISH: self._publish,
        }

    def perform(self, session: Session, ident: int, document: Document) -> None:
        """Do what a SERVICE frame asks for, and answer, now or later.

        Raises:
            RefusalError, OSError: if it can't be done.
        """
        operation = self._table.get(cast("str", document.get("op")))
        if operation is None:
            raise RefusalError(
                wire.UNSUPPORTED, f"the agent does not know the service operation {document.get('op')!r}"
            )
        operation(session, ident, document)

    def _start(self, session: Session, ident: int, document: Document) -> None:
        name = str(document["service"])
        self._make_room(name)
        argv = [str(each) for each in cast("list[object]", document["argv"])]
        cwd = str(document["cwd"])
        env = cast("dict[str, str]", document.get("env") or {})
        wanted = cast("Document | None", document.get("ready"))

        def line(command: str) -> bytes:
            return _body(["/bin/sh", "-c", command], cwd, env)

        # What can't be checked is refused before anything runs.
        make = None if wanted is None else check_for(self._machine, wanted, line)
        process = begin_apart(self._machine, _body(argv, cwd, env))
        service = Service(self._machine, name, str(document["run"]), process)
        self._services[name] = service
        reply = Reply(session, ident, lambda: service.fail("abandoned"))
        service.when_started.append(lambda: reply.give(service.report(), self._last_words(service)))
        loop = self._machine.loop

        def readiness(on_ready: Callable[[], None]) -> Readiness:
            assert wanted is not None and make is not None  # noqa: S101, PT018 - they come together
            return Readiness(self._machine, wanted, make, on_ready)

        def on_launched(mask: int) -> None:
            del mask
            loop.remove(process.pipes.error)
            failure = failure_of(process)
            if failure is not None:
                self._forget(service)
                loop.remove(process.exit_fd)
                reply.refuse(failure)
                discard(loop, process)
                return
            service.follow()
            service.become_ready_when(None if make is None else readiness, cast("int", document["timeout_ms"]))

        loop.add(process.pipes.error, on_launched)

    def _make_room(self, name: str) -> None:
        there = self._services.get(name)
        if there is not None:
            if there.is_live:
                raise RefusalError(wire.SERVICE_RUNS, "a service of that name runs")
            self._forget(there)
        if len(self._services) < services.MAX_SERVICES:
            return
        for each in self._services.values():
            if not each.is_live:
                self._forget(each)
                return
        raise RefusalError(wire.TOO_MANY_SERVICES, f"there are {len(self._services)} services")

    def _forget(self, service: Service) -> None:
        if self._services.get(service.name) is service:
            del self._services[service.name]

    def _last_words(self, service: Service) -> bytes:
        if service.state == services.RUNNING:
            return b""
        log = service.log
        return log.part(max(log.start, log.end - services.TAIL_BYTES), services.TAIL_BYTES)

    def _list(self, session: Session, ident: int, document: Document) -> None:
        del document
        Reply(session, ident).give({"services": [each.report() for each in self._services.values()]})

    def _logs(self, session: Session, ident: int, document: Document) -> None:
        service = self._service(document)
        start, count = cast("int", document["start"]), cast("int", document["count"])
        log = service.log
        if start < 0:
            # Counted from the end.
            start = log.end + start
        start = min(max(start, log.start), log.end)
        Reply(session, ident).give({**service.report(), "start": start}, log.part(start, count))

    def _stop(self, session: Session, ident: int, document: Document) -> None:
        service = self._service(document)
        was_live = service.is_live
        reply = Reply(session, ident)

        def done() -> None:
            reply.give({**service.report(), "was_live": was_live})

        if not was_live:
            done()
            return
        service.end(cast("int", document["grace_ms"]) / 1000, done)

    def _publish(self, session: Session, ident: int, document: Document) -> None:
        service = self._service(document)
        if not service.is_live or service.run != document.get("run"):
            raise RefusalError(wire.NO_SUCH_SERVICE, "the service has ended")
        ports = [cast("int", each) for each in cast("list[object]", document["ports"])]
        Tunnel(self._machine.loop, session, ident, frozenset(ports), service.tunnels)

    def _service(self, document: Document) -> Service:
        service = self._services.get(cast("str", document.get("service")))
        if service is None:
            raise RefusalError(wire.NO_SUCH_SERVICE, "there is no such service")
        return service


def _body(argv: list[str], cwd: str, env: dict[str, str]) -> bytes:
    texts = [cwd, *argv, *(f"{name}={value}" for name, value in env.items())]
    # What is no UTF-8 stands as surrogates.
    packed = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
    return _EXEC.pack(0, 0, len(argv), len(env)) + packed
