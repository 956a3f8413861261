"""Start commands that outlive their session, and discard processes that failed to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.guest.processes.process import launch
from pyro_mcp.guest.refusal import RefusalError

if TYPE_CHECKING:
    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.guest.processes.process import Process
    from pyro_mcp.protocol.loop import Loop


def start_detached(machine: Machine, body: bytes) -> Process:
    """Start the command in the body of an EXEC frame, and return its process.

    Raises:
        RefusalError, OSError: if it can't be started.
    """
    for is_last_attempt in (False, True):
        process = machine.standby.take().surrender()
        try:
            launch(process, body)
        except (RefusalError, OSError) as error:
            discard(machine.loop, process)
            # The workload may have killed the process while it waited.
            if is_last_attempt or not isinstance(error, BrokenPipeError):
                raise
            continue
        machine.loop.later(machine.standby.replenish)
        return process
    raise AssertionError


def discard(loop: Loop, process: Process) -> None:
    """Kill a process that is not needed, and release it when it has ended."""

    def on_exit(mask: int) -> None:
        del mask
        loop.remove(process.exit_fd)
        process.status()
        process.close()

    loop.add(process.exit_fd, on_exit)
    process.kill()
