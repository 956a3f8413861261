"""Operations on services: commands that outlive their session, each with a name, a log and a readiness check.

When a service ends, every process that it started is killed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.answers import OperationTable, Reply
from pyro_mcp.guest.detached import discard, start_detached
from pyro_mcp.guest.processes.process import failure_of
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.services.readiness import Readiness, check_for, refuse_if_answered
from pyro_mcp.guest.services.service import Service
from pyro_mcp.guest.services.tunnel import Tunnel
from pyro_mcp.protocol import services, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.conversation import Conversation
    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.protocol.documents import Document

_EXEC = struct.Struct(wire.EXEC_FORMAT)


class Services(OperationTable):
    """The services of a guest."""

    kind = "service"

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

    def _start(self, session: Conversation, ident: int, document: Document) -> None:
        name = str(document["service"])
        self._make_room(name)
        argv = [str(each) for each in cast("list[object]", document["argv"])]
        cwd = str(document["cwd"])
        env = cast("dict[str, str]", document.get("env") or {})
        user = cast("str", document.get("user") or "")
        wanted = cast("Document | None", document.get("ready"))

        def line(command: str) -> bytes:
            return _body(["/bin/sh", "-c", command], cwd, env, user, wire.EXEC_LINE)

        # An invalid check is refused before anything runs.
        make = None if wanted is None else check_for(self._machine, wanted, line)
        if wanted is not None:
            starting = (each for each in self._services.values() if each.state == services.STARTING)
            refuse_if_answered(wanted, [each.wanted for each in starting])
        flags = wire.EXEC_LINE if document.get("line") is True else 0
        process = start_detached(self._machine, _body(argv, cwd, env, user, flags))
        service = Service(self._machine, name, str(document["run"]), wanted, process)
        self._services[name] = service
        reply = Reply(session, ident, lambda: service.fail("abandoned"))
        service.when_started.append(lambda: reply.give(service.report(), self._tail(service)))
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
                raise RefusalError(wire.SERVICE_RUNS, "a service with that name is already running")
            self._forget(there)
        if len(self._services) < services.MAX_SERVICES:
            return
        for each in self._services.values():
            if not each.is_live:
                self._forget(each)
                return
        raise RefusalError(wire.TOO_MANY_SERVICES, f"{len(self._services)} services are already running")

    def _forget(self, service: Service) -> None:
        if self._services.get(service.name) is service:
            del self._services[service.name]

    def _tail(self, service: Service) -> bytes:
        if service.state == services.RUNNING:
            return b""
        log = service.log
        return log.part(max(log.start, log.end - services.TAIL_BYTES), services.TAIL_BYTES)

    def _list(self, session: Conversation, ident: int, document: Document) -> None:
        del document
        Reply(session, ident).give({"services": [each.report() for each in self._services.values()]})

    def _logs(self, session: Conversation, ident: int, document: Document) -> None:
        service = self._service(document)
        start, count = cast("int", document["start"]), cast("int", document["count"])
        log = service.log
        if start < 0:
            # Relative to the end.
            start = log.end + start
        start = min(max(start, log.start), log.end)
        Reply(session, ident).give({**service.report(), "start": start}, log.part(start, count))

    def _stop(self, session: Conversation, ident: int, document: Document) -> None:
        service = self._service(document)
        was_live = service.is_live
        reply = Reply(session, ident)

        def done() -> None:
            reply.give({**service.report(), "was_live": was_live})

        if not was_live:
            done()
            return
        service.end(cast("int", document["grace_ms"]) / 1000, done)

    def _publish(self, session: Conversation, ident: int, document: Document) -> None:
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


def _body(argv: list[str], cwd: str, env: dict[str, str], user: str, flags: int) -> bytes:
    texts = [cwd, *argv, *(f"{name}={value}" for name, value in env.items()), *([user] if user else [])]
    flags |= wire.EXEC_USER if user else 0
    # Bytes that are not UTF-8 arrive as surrogates.
    packed = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
    return _EXEC.pack(0, flags, len(argv), len(env)) + packed
