"""The agent's machine when it is a virtual one: `prepare` for a template, `configure` after a restore, `power_off`.

Whatever `prepare` can do is not left to `configure`.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.console import log
from pyro_mcp.guest.desk import TaskIntake
from pyro_mcp.guest.processes import spawner
from pyro_mcp.guest.processes.spawner import Surroundings
from pyro_mcp.guest.processes.standby import Standby
from pyro_mcp.guest.processes.task_process import TaskLauncher
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.system import environment, names, rehearsal, secrets, settings, workload
from pyro_mcp.guest.system.network import configure_network
from pyro_mcp.guest.system.zygote import ZygoteLauncher
from pyro_mcp.guest.tasks.area import TaskRoots
from pyro_mcp.protocol import shells, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.machine import FileVersion
    from pyro_mcp.guest.system.boot import Lanes
    from pyro_mcp.protocol.documents import Document
    from pyro_mcp.protocol.loop import Loop

_ENVIRONMENT = {
    b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    b"HOME": b"/root",
    b"LANG": b"C.UTF-8",
    b"USER": b"root",
    b"LOGNAME": b"root",
    # Commands have no terminal; shells, which have one, name it.
    b"TERM": b"dumb",
}
_WORKSPACE = os.fsencode(environment.WORKSPACE)
# The template runs these so that the files most first commands need are in memory.
_REHEARSED = (("/bin/sh", "-c", "true"), ("true",), ("/usr/bin/python3", "-c", "pass"), ("/bin/bash", "-ic", ":"))
# Python adapts a function's code after some calls (8 in 3.11), and each of its instructions at the next run.
_REPETITIONS = 12
# Settings of the kernel, for a guest that costs nothing while it does nothing: no compaction twice a second, no
# gathering of statistics each second.
_SETTINGS = {
    "/proc/sys/vm/compaction_proactiveness": "0",
    "/proc/sys/vm/stat_interval": "3600",
    # The other end of every connection is passt, next door: a larger window only overruns its socket, where what is
    # lost takes seconds to come again; and what it refuses it refuses (until 2025) in a way that TCP does not take for
    # an answer, so that connecting ends after these retries: 7 s instead of 127.
    "/proc/sys/net/ipv4/tcp_rmem": "4096 131072 262144",
    "/proc/sys/net/ipv4/tcp_syn_retries": "2",
    # The kernel's defaults grow with memory: what watches a project's files finds here what a desktop gives it.
    "/proc/sys/fs/inotify/max_user_watches": "524288",
    "/proc/sys/fs/inotify/max_user_instances": "1024",
}
# And of its block devices: behind them is a file of the host's, which schedules by itself.
_DISK_SETTINGS = {"scheduler": "none", "wbt_lat_usec": "0", "iostats": "0", "add_random": "0"}


class VirtualMachine:
    """A guest, with the agent as its PID 1."""

    features = (
        "exec",
        "tasks",
        "shells",
        "services",
        "network",
        "power",
        "workspace",
        wire.USERS,
        wire.USERS_OF_ALL,
        wire.MERGE,
        shells.PROGRAMS,
        wire.FREEZE_ROOT,
    )

    def __init__(self, loop: Loop) -> None:
        self._launcher = ZygoteLauncher(Surroundings(_ENVIRONMENT, _WORKSPACE), self._enter_workload)
        self.standby = Standby(loop, self._launcher)
        self._grounds = TaskRoots(
            os.fsencode(environment.WORKSPACE_PLACE),
            root=os.fsencode(environment.ENVIRONMENT),
            pid_file=workload.PID_FILE,
        )
        self.desk = TaskIntake(loop, _ConfinedLauncher(self._grounds, self), environment.thaw_disks)
        self.lanes: Lanes | None = None
        self.loop = loop
        self._names = names.Names()
        self._namespaces: workload.Namespaces | None = None
        self._flavour = ""
        workload.make_cgroups()
        secrets.make_place()

    def prepare(self, document: Document) -> Document:
        """Mount what every clone mounts, and rehearse, so that a clone's first command finds everything in place."""
        flavour = document.get("flavour")
        if flavour not in (wire.FRESH, wire.ATTACH) or self._flavour:
            raise RefusalError(wire.BAD_REQUEST, f"can't prepare for {flavour!r} after {self._flavour!r}")
        _tune_kernel()
        environment.mount_base()
        self._launcher.surroundings.environment[b"SHELL"] = environment.login_shell()
        if flavour == wire.FRESH:
            self._mount_root()
            self._names.place(environment.ENVIRONMENT)
        self._flavour = cast("str", flavour)
        if self.lanes is not None:
            self.lanes.stop_looking()
        if flavour == wire.FRESH:
            self._rehearse()
        self._names.forget()
        os.sync()
        return {}

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        """Become one particular guest, random numbers first."""
        root = rest.get("root", wire.ROOT_MOUNTED)
        if not self._flavour or (root == wire.ROOT_MOUNTED) != (self._flavour == wire.FRESH):
            raise RefusalError(wire.CONFLICT, f"a template of flavour {self._flavour!r} can't have its root {root!r}")
        self._names.reseed(entropy)
        resolvers: list[str] = []
        network = rest.get("network")
        if network is not None:
            resolvers = names.texts_of(cast("Document", network), "dns")
            configure_network(cast("Document", network))
        wants_workspace = rest.get(wire.WORKSPACE) is True
        if rest.get(wire.INSPECT) is True:
            if root != wire.ROOT_ATTACH:
                raise RefusalError(wire.CONFLICT, "only a root disk that is attached can be looked at alone")
            environment.mount_to_look_at(has_workspace=wants_workspace)
            self._grounds.inspecting = True
            return
        if root == wire.ROOT_ATTACH:
            self._mount_root()
            self._names.adopt(environment.ENVIRONMENT, hostname, machine_id, resolvers)
        else:
            self._names.become(hostname, machine_id, resolvers)
        if wants_workspace:
            environment.mount_workspace()

    def open_terminal(self) -> int:
        """Return the controlling end of one of the workload's own pseudo terminals."""
        return self._enter_workload().open_terminal()

    def keep_secret(self, document: Document) -> None:
        """Show the workload a secret."""
        secrets.keep(document)

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of what the workload finds at an absolute path, or None."""
        return self._enter_workload().file_version(path)

    def set_clock(self, clock_ns: int) -> None:
        """Set the clock."""
        names.set_clock(clock_ns)

    def sync(self) -> None:
        """Put on the disks what is not there yet."""
        os.sync()

    def power_off(self) -> None:
        """Kill the workload, leave the disks clean, and switch off when the answer is out."""
        self.desk.close()
        self.standby.drop()
        self._launcher.kill_all()
        if self._namespaces is not None:
            self._namespaces.end()
            self._namespaces = None
        self._names.close()
        if self._flavour:
            environment.unmount_all()
        os.sync()
        self.loop.later(syscalls.power_off)

    def fork_outside(self, child: Callable[[], int]) -> int:
        """Fork a process that is no part of the workload, and can't be seen by it."""
        if self._namespaces is None:
            return spawner.fork(child)
        with self._namespaces.left():
            return spawner.fork(child)

    def _mount_root(self) -> None:
        """Mount the root disk, and do what its files say about the kernel and about commands."""
        environment.mount_root()
        settings.apply_sysctl(environment.ENVIRONMENT)
        self._launcher.limits = settings.read_limits(environment.ENVIRONMENT)

    def _enter_workload(self) -> workload.Namespaces:
        if self._namespaces is not None and self._namespaces.has_ended():
            self._namespaces.end()
            self._namespaces = None
        if self._namespaces is None:
            self._namespaces = workload.Namespaces(environment.assemble)
        return self._namespaces

    def _rehearse(self) -> None:
        """Go through what a clone does first until nothing in it is new; make the waiting process, and go once more."""
        rehearsal.converse(self.loop, self, _REHEARSED)
        for _ in range(_REPETITIONS):
            spawner.rehearse(self._launcher.surroundings)
            rehearsal.converse(self.loop, self, _REHEARSED[:1])
        # The objects of now stay; scanning them again would copy all their pages in each clone.
        gc.collect()
        gc.freeze()
        # The fork shares all pages with the child: what the agent writes first is copied now, not in each clone.
        self.standby.replenish()
        for _ in range(2):
            rehearsal.converse(self.loop, self, ())


class _ConfinedLauncher(TaskLauncher):
    """Makes processes for tasks in a guest: beside the workload, and with less memory than all."""

    # Forking alone takes longer here than many a task.
    is_slow = True

    def __init__(self, grounds: TaskRoots, machine: VirtualMachine) -> None:
        super().__init__(grounds)
        self._machine = machine
        self._memory_kills = 0

    def fork(self, child: Callable[[], int]) -> int:
        """Fork a process that the workload does not see."""
        return self._machine.fork_outside(child)

    def confine(self) -> None:
        """In the child: join the control group of all tasks."""
        workload.enter_tasks()

    def memory_kills_grew(self) -> bool:
        """Say whether the kernel killed a task for want of memory since this was last asked."""
        before, self._memory_kills = self._memory_kills, workload.memory_kills(workload.TASKS)
        return self._memory_kills > before


def _tune_kernel() -> None:
    settings = dict(_SETTINGS)
    for disk in os.listdir("/sys/block"):
        settings |= {f"/sys/block/{disk}/queue/{name}": value for name, value in _DISK_SETTINGS.items()}
    for path, value in settings.items():
        try:
            workload.write_file(path, value)
        except OSError as error:
            # A kernel without one of them works as well, a little slower.
            log(f"{path}: {error}")
