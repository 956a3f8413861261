"""The agent without a VM: commands run on the host in a private directory, without any isolation."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from pyro_mcp.guest import terminals
from pyro_mcp.guest.lane import Lane
from pyro_mcp.guest.operations import Operations
from pyro_mcp.guest.processes.guard import GuardLauncher
from pyro_mcp.guest.processes.spawner import Surroundings
from pyro_mcp.guest.processes.standby import Standby
from pyro_mcp.guest.processes.task_process import TaskLauncher
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.task_intake import TaskIntake
from pyro_mcp.guest.tasks.area import TaskRoots
from pyro_mcp.protocol import shells, wire
from pyro_mcp.protocol.loop import Loop

if TYPE_CHECKING:
    from pyro_mcp.guest.machine import FileVersion
    from pyro_mcp.protocol.documents import Document

_WORKSPACE = b"/workspace"


class HostDirectory:
    """A private host directory in place of a VM; its `/workspace` is the directory itself."""

    features = ("exec", "tasks", "shells", "services", "compat", shells.PROGRAMS, wire.FREEZE_ROOT)

    def __init__(self, root: str, baseline: str, loop: Loop) -> None:
        place = self._place = os.fsencode(os.path.realpath(root))
        surroundings = Surroundings({**os.environb, b"HOME": place, b"PWD": place}, place)
        self.standby = Standby(loop, GuardLauncher(surroundings))
        roots = TaskRoots(place, baseline=os.fsencode(baseline))
        self.task_intake = TaskIntake(loop, TaskLauncher(roots), _nothing_to_thaw)
        self.loop = loop

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudoterminal of the host."""
        return terminals.open_controlling_end("/dev/ptmx", None)

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of the file at an absolute path, or None; /workspace is the directory."""
        if path.startswith(_WORKSPACE) and path[len(_WORKSPACE) : len(_WORKSPACE) + 1] in b"/":
            path = self._place + path[len(_WORKSPACE) :]
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_ctime_ns

    def prepare(self, document: Document) -> Document:
        """Do nothing: there is no template to prepare."""
        del document
        return {}

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        """Do nothing: clock, names, random numbers and network belong to the host."""
        del entropy, hostname, machine_id, rest

    def keep_secret(self, document: Document) -> None:
        """Refuse: here, every process of this user could read the secret."""
        del document
        raise RefusalError(wire.UNSUPPORTED, "secrets need a VM: on the host, every process could read them")

    def set_clock(self, clock_ns: int) -> None:
        """Do nothing: the clock belongs to the host."""
        del clock_ns

    def sync(self) -> None:
        """Flush the host's file systems."""
        os.sync()

    def power_off(self) -> None:
        """Stop the agent once its reply is sent; processes it started end with it."""
        self.task_intake.close()
        self.loop.later(self._stop)

    def _stop(self) -> None:
        self.loop.running = False


def _nothing_to_thaw() -> None:
    """Do nothing: on a host, nothing is frozen."""


def host_loop(listen_fd: int, root: str, baseline: str, agent_digest: str) -> Loop:
    """Return the loop of an agent that serves a listening socket until power-off."""
    loop = Loop()
    machine = HostDirectory(root, baseline, loop)
    operations = Operations(machine, agent_digest=agent_digest)
    listener = socket.socket(fileno=listen_fd)
    listener.setblocking(False)

    def accept(mask: int) -> None:
        del mask
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        Lane(connection.detach(), loop, operations, is_connection=True)

    loop.add(listen_fd, accept)
    return loop
