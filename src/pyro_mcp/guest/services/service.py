"""A service: a command that outlives the session that started it, with its log and its tunnels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyro_mcp.guest.services.log import ServiceLog
from pyro_mcp.protocol import services

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.guest.services.readiness import Readiness
    from pyro_mcp.guest.services.tunnel import Tunnel
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Deadline


_LIVE = {services.STARTING, services.RUNNING}


class Service:
    """One run of a service, from its start until another service replaces it."""

    def __init__(self, machine: Machine, name: str, run: str, wanted: Document | None, process: Process) -> None:
        self.name = name
        self.run = run
        #: The readiness check, or None.
        self.wanted = wanted
        self.state = services.STARTING
        self.exit_code: int | None = None
        self.ready_ms = 0
        self.ran_ms = 0
        self.killed = False
        self.problem = ""
        self.detail = ""
        #: How many processes were left when the command exited with 0: more than none if it went to the background.
        self.left_running = 0
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
        """Return whether its command is running."""
        return self.state in _LIVE

    def report(self) -> Document:
        """Return the report for the host."""
        return {
            "service": self.name,
            "run": self.run,
            "state": self.state,
            "exit_code": self.exit_code,
            "ready_ms": self.ready_ms,
            "ran_ms": self.ran_ms,
            "killed": self.killed,
            "problem": self.problem,
            "detail": self.detail,
            "left_running": self.left_running,
            "first": self.log.start,
            "end": self.log.end,
        }

    def follow(self) -> None:
        """Start logging, once the command has been executed."""
        pipes = self._process.pipes
        pipes.close("request", "stdin", "error")
        # Otherwise the end of a stream would not be seen.
        pipes.close_theirs()
        self.log.follow(pipes)

    def become_ready_when(self, readiness: Callable[[Callable[[], None]], Readiness] | None, timeout_ms: int) -> None:
        """Become running when the checks succeed (or, without checks, after a moment); fail after `timeout_ms`."""
        if readiness is None:
            self._deadlines.append(self._loop.at(services.SETTLE_MS / 1000, self._on_ready))
            return
        self._deadlines.append(self._loop.at(timeout_ms / 1000, lambda: self.fail("not_ready")))
        self._readiness = readiness(self._on_ready)

    def fail(self, problem: str) -> None:
        """Kill the service if it is still starting; its state is failed once it has ended."""
        if self.state == services.STARTING and not self.problem:
            self.problem = problem
            self._stop_checking()
            self._process.kill()

    def end(self, grace_s: float, when_ended: Callable[[], None]) -> None:
        """Ask the service to end, and kill it after `grace_s`; `when_ended` is called when it has ended."""
        self.when_ended.append(when_ended)
        self._stop_checking()
        if not self._stopping:
            self._stopping = True
            self._process.ask_to_end()
        self._deadlines.append(self._loop.at(grace_s, self._on_grace_over))

    def _on_grace_over(self) -> None:
        self.killed = True
        self._process.kill()

    def _age_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

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
        self.ready_ms = self._age_ms()
        self.state = services.RUNNING
        self._call(self.when_started)

    def _on_exit(self, mask: int) -> None:
        del mask
        self._loop.remove(self._process.exit_fd)
        self.exit_code = self._process.status()
        self.ran_ms = self._age_ms()
        self._stop_checking()
        if not self.exit_code and not self._stopping:
            self.left_running = self._process.count_left()
        if self._stopping:
            self.state = services.STOPPED
        elif self.state == services.STARTING:
            self.state = services.FAILED
            self.problem = self.problem or "exited"
        else:
            self.state = services.EXITED
        # A service ends with every process that it started.
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
