"""Hand out processes for tasks. One process is kept ready, and only one task at a time may freeze the workspace."""

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
    """The tasks of one machine. `thaw` thaws the workspace after a task has frozen it."""

    def __init__(self, loop: Loop, launcher: TaskLauncher, thaw: Callable[[], None]) -> None:
        self._launcher = launcher
        self.standby = Standby(loop, launcher)
        self._thaw = thaw
        self._holder: TaskProcess | None = None

    def take(self, body: bytes) -> Execution:
        """Return an execution for the task of a TASK frame.

        Raises:
            RefusalError: if it would freeze the workspace while another task does.
        """
        _, flags = tasks.TASK.unpack_from(body)
        freezes = flags & tasks.FREEZES
        if freezes and self._holder is not None:
            raise RefusalError(wire.CONFLICT, "the workspace is already frozen")
        execution = self.standby.take()
        if freezes:
            self._holder = cast("TaskProcess", execution.process)
            self._holder.on_end = self._release
        return execution

    def close(self) -> None:
        """End all tasks, and thaw the workspace."""
        self.standby.drop()
        self._launcher.end_all()
        # The workload itself may have frozen it, and every further write would then block forever.
        self._thaw()

    def _release(self) -> None:
        self._holder = None
        self._thaw()
