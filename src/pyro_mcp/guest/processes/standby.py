"""Keep one process ready to become the next command. More than one would cost memory."""

from __future__ import annotations

from pyro_mcp.guest.processes.execution import Execution
from pyro_mcp.guest.processes.process import Launcher
from pyro_mcp.protocol.loop import Loop


class Standby:
    """Hands out executions that can begin immediately."""

    def __init__(self, loop: Loop, launcher: Launcher) -> None:
        self._loop = loop
        self._launcher = launcher
        self._waiting: Execution | None = None

    def take(self) -> Execution:
        """Return an execution that has not begun."""
        execution = self._waiting
        if execution is None:
            return self._make()
        self._waiting = None
        return execution

    def replenish(self) -> None:
        """Prepare an execution if there is none, and creating one is slow."""
        if self._waiting is None and self._launcher.is_slow:
            self._waiting = self._make()

    def drop(self) -> None:
        """Kill the prepared process."""
        if self._waiting is not None:
            self._waiting.process.kill()
            self._waiting = None

    def _make(self) -> Execution:
        return Execution(self._loop, self._launcher.make(), self._on_unused_end)

    def _on_unused_end(self, execution: Execution) -> None:
        if execution is self._waiting:
            self._waiting = None
