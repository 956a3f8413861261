"""Start tasks: one process waits for the next, and only one task at a time holds the workspace still."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from pyro_mcp.guest.processes.execution import Execution
from pyro_mcp.guest.processes.standby import Standby
from pyro_mcp.guest.processes.task_process import TaskLauncher, TaskProcess
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.loop import Loop


class TaskIntake:
    """Takes in the tasks of one machine. `thaw` lets a workspace go on that a task has held still."""

    def __init__(self, loop: Loop, launcher: TaskLauncher, thaw: Callable[[], None]) -> None:
        self._launcher = launcher
        self.standby = Standby(loop, launcher)
        self._thaw = thaw
        self._holder: TaskProcess | None = None

    def take(self, body: bytes) -> Execution:
        """Return an execution for the task of a TASK frame.

        Raises:
            RefusalError: if it is to hold the workspace still while another one does.
        """
        _, flags = tasks.TASK.unpack_from(body)
        freezes = flags & tasks.FREEZES
        if freezes and self._holder is not None:
            raise RefusalError(wire.CONFLICT, "the workspace is held still already")
        execution = self.standby.take()
        if freezes:
            self._holder = cast("TaskProcess", execution.process)
            self._holder.on_end = self._let_go
        return execution

    def close(self) -> None:
        """End all tasks, and let the workspace go on."""
        self.standby.drop()
        self._launcher.end_all()
        # The workload may have frozen it too: every write from here on would wait for ever.
        self._thaw()

    def _let_go(self) -> None:
        self._holder = None
        self._thaw()
