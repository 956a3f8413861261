"""A shell: a program on a terminal that outlives the session that opened it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from pyro_mcp.protocol import shells

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.conversation import Watcher
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.guest.terminals import Terminal
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Deadline, Loop


# How long a closed shell may take to exit by itself.
_HANG_UP_S = 1.0


class Shell:
    """A program on a terminal, from the request to open it until it is closed."""

    def __init__(self, name: str, process: Process, terminal: Terminal, loop: Loop, *, cwd: str) -> None:
        self.name = name
        self.cwd = cwd
        self.started_ms = _now_ms()
        self.ended_ms: int | None = None
        self.terminal = terminal
        self.exit_code: int | None = None
        self.views: list[Watcher] = []
        self.when_exited: list[Callable[[], None]] = []
        self._process = process
        self._loop = loop
        self._deadline: Deadline | None = None
        terminal.on_output = self.notify
        loop.add(process.exit_fd, self._on_exit)

    @property
    def state(self) -> str:
        """Return the state."""
        return shells.RUNNING if self.exit_code is None else shells.EXITED

    def report(self) -> Document:
        """Return the report for the host."""
        terminal = self.terminal
        _, cols, rows = terminal.sizes[-1]
        return {
            "shell": self.name,
            "state": self.state,
            "exit_code": self.exit_code,
            "first": terminal.readable_start,
            "end": terminal.end,
            "cwd": self.cwd,
            "started_ms": self.started_ms,
            "ended_ms": self.ended_ms,
            "cols": cols,
            "rows": rows,
        }

    def notify(self) -> None:
        """Notify all views of a change."""
        for view in self.views.copy():
            view.on_change()

    def end(self, when_ended: Callable[[], None]) -> None:
        """Hang up, and kill the program after `_HANG_UP_S`; `when_ended` is called when it has ended."""
        if self.exit_code is not None:
            when_ended()
            return
        self.when_exited.append(when_ended)
        if self._deadline is None:
            self.terminal.signal_foreground(signal.SIGHUP)
            self.terminal.close()
            self._deadline = self._loop.at(_HANG_UP_S, self._process.kill)

    def kill(self) -> None:
        """Kill the program and all processes that it started."""
        self._process.kill()

    def clear_away(self) -> None:
        """After the program has ended: kill what it left running, and release its resources."""
        self._process.kill()
        self.terminal.close()
        if self._process.pipes.error >= 0:
            self._loop.remove(self._process.pipes.error)
        self._process.close()

    def _on_exit(self, mask: int) -> None:
        del mask
        self._loop.remove(self._process.exit_fd)
        self.exit_code = self._process.status()
        self.ended_ms = _now_ms()
        if self._deadline is not None:
            self._loop.cancel(self._deadline)
            self._deadline = None
        # The rest of its output is already in the terminal's buffer.
        self.terminal.drain()
        self.notify()
        waiting, self.when_exited = self.when_exited, []
        for call in waiting:
            call()


def _now_ms() -> int:
    return int(time.time() * 1000)
