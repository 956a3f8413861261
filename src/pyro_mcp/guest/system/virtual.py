"""The agent's machine in a VM: `prepare` for a template, `configure` after a restore, `power_off`.

`prepare` does as much as possible, so that little is left to `configure`, which delays every start.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.console import log
from pyro_mcp.guest.processes import spawner
from pyro_mcp.guest.processes.spawner import Surroundings
from pyro_mcp.guest.processes.standby import Standby
from pyro_mcp.guest.processes.task_process import TaskLauncher
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.system import certificates, environment, names, rehearsal, secrets, settings, workload
from pyro_mcp.guest.system.network import configure_network
from pyro_mcp.guest.system.zygote import ZygoteLauncher
from pyro_mcp.guest.task_intake import TaskIntake
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
    # Commands have no terminal. Shells have one, and set TERM.
    b"TERM": b"dumb",
}
_WORKSPACE = os.fsencode(environment.WORKSPACE)
# Run before the template is saved, so that the files needed by most first commands are in memory.
_REHEARSED = (("/bin/sh", "-c", "true"), ("true",), ("/usr/bin/python3", "-c", "pass"), ("/bin/bash", "-ic", ":"))
# Python quickens a function's code after some calls (8 in 3.11), and specializes its instructions in the next run.
_REPETITIONS = 12
# Kernel settings that make an idle guest cost nothing: no compaction twice a second, no statistics every second.
_SETTINGS = {
    "/proc/sys/vm/compaction_proactiveness": "0",
    "/proc/sys/vm/stat_interval": "3600",
    # The peer of every connection is passt on the host. A larger window only overruns its socket, and retransmission
    # takes seconds. Its way of refusing connections (until 2025) is not recognized by TCP, so that connecting fails
    # only after these retries: 7 s instead of 127.
    "/proc/sys/net/ipv4/tcp_rmem": "4096 131072 262144",
    "/proc/sys/net/ipv4/tcp_syn_retries": "2",
    # The kernel's defaults depend on memory. Programs that watch a project's files get the limits of a desktop.
    "/proc/sys/fs/inotify/max_user_watches": "524288",
    "/proc/sys/fs/inotify/max_user_instances": "1024",
}
# Settings for block devices: their backing files are on the host, which does its own scheduling.
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
        wire.CERTIFICATES,
    )

    def __init__(self, loop: Loop) -> None:
        self._launcher = ZygoteLauncher(Surroundings(_ENVIRONMENT, _WORKSPACE), self._enter_workload)
        self.standby = Standby(loop, self._launcher)
        self._roots = TaskRoots(
            os.fsencode(environment.WORKSPACE_PLACE),
            root=os.fsencode(environment.ENVIRONMENT),
            pid_file=workload.PID_FILE,
        )
        self.task_intake = TaskIntake(loop, _ConfinedLauncher(self._roots, self), environment.thaw_disks)
        self.lanes: Lanes | None = None
        self.loop = loop
        self._names = names.Names()
        self._namespaces: workload.Namespaces | None = None
        self._flavour = ""
        workload.make_cgroups()
        secrets.make_place()

    def prepare(self, document: Document) -> Document:
        """Mount what every clone needs and rehearse, so that a clone's first command finds everything ready."""
        flavour = document.get("flavour")
        if flavour not in (wire.FRESH, wire.ATTACH) or self._flavour:
            raise RefusalError(wire.BAD_REQUEST, f"can't prepare flavour {flavour!r} after {self._flavour!r}")
        _tune_kernel()
        environment.mount_base()
        self._launcher.surroundings.environment[b"SHELL"] = environment.login_shell()
        if flavour == wire.FRESH:
            self._mount_root()
            self._names.place(environment.ENVIRONMENT)
        self._flavour = cast("str", flavour)
        if self.lanes is not None:
            self.lanes.stop_watching()
        if flavour == wire.FRESH:
            self._rehearse()
        self._names.forget()
        os.sync()
        return {}

    def configure(self, entropy: bytes, hostname: bytes, machine_id: bytes, rest: Document) -> None:
        """Assume the identity of one particular guest, random numbers first."""
        root = rest.get("root", wire.ROOT_MOUNTED)
        if not self._flavour or (root == wire.ROOT_MOUNTED) != (self._flavour == wire.FRESH):
            raise RefusalError(wire.CONFLICT, f"a template of flavour {self._flavour!r} does not support root {root!r}")
        self._names.reseed(entropy)
        resolvers: list[str] = []
        network = rest.get("network")
        if network is not None:
            resolvers = names.texts_of(cast("Document", network), "dns")
            configure_network(cast("Document", network))
        wants_workspace = rest.get(wire.WORKSPACE) is True
        if rest.get(wire.INSPECT) is True:
            if root != wire.ROOT_ATTACH:
                raise RefusalError(wire.CONFLICT, "an inspection requires an attached root disk")
            environment.mount_for_inspection(has_workspace=wants_workspace)
            self._roots.inspecting = True
            return
        if root == wire.ROOT_ATTACH:
            self._mount_root()
            self._names.adopt(environment.ENVIRONMENT, hostname, machine_id, resolvers)
        else:
            self._names.become(hostname, machine_id, resolvers)
        trusted = rest.get(wire.CERTIFICATES)
        if trusted is not None:
            self._trust(cast("dict[str, str]", trusted), is_new=root != wire.ROOT_ATTACH)
        if wants_workspace:
            environment.mount_workspace()

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudoterminal in the workload's /dev/pts."""
        return self._enter_workload().open_terminal()

    def keep_secret(self, document: Document) -> None:
        """Make a secret available to the workload."""
        secrets.keep(document)

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of the file that the workload sees at an absolute path, or None."""
        return self._enter_workload().file_version(path)

    def set_clock(self, clock_ns: int) -> None:
        """Set the clock."""
        names.set_clock(clock_ns)

    def sync(self) -> None:
        """Flush all file systems."""
        os.sync()

    def power_off(self) -> None:
        """Kill the workload, unmount the disks cleanly, and power off once the reply is sent."""
        self.task_intake.close()
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
        """Fork a process outside the workload and invisible to it."""
        if self._namespaces is None:
            return spawner.fork(child)
        with self._namespaces.left():
            return spawner.fork(child)

    def _trust(self, trusted: dict[str, str], *, is_new: bool) -> None:
        """Add certificates to the environment's trust store, and variables that lead its clients to that."""
        try:
            certificates.install(environment.ENVIRONMENT, trusted)
        except OSError as error:
            if is_new:
                raise
            # A disk that the workload has filled must still start, so that it can be emptied.
            log(f"the certificates could not be installed: {error}")
        self._launcher.surroundings.environment.update(certificates.variables(environment.ENVIRONMENT))
        # The process that waits for the first command has the variables of the template.
        self.standby.drop()

    def _mount_root(self) -> None:
        """Mount the root disk, and apply its kernel parameters and resource limits."""
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
        """Repeat a clone's first actions until they are warm; then fork the standby process, and repeat them again."""
        rehearsal.converse(self.loop, self, _REHEARSED)
        for _ in range(_REPETITIONS):
            spawner.rehearse(self._launcher.surroundings)
            rehearsal.converse(self.loop, self, _REHEARSED[:1])
        # Existing objects are permanent: scanning them again would copy all their pages in each clone.
        gc.collect()
        gc.freeze()
        # After the fork all pages are shared: those that the agent writes to are copied now, not in each clone.
        self.standby.replenish()
        for _ in range(2):
            rehearsal.converse(self.loop, self, ())


class _ConfinedLauncher(TaskLauncher):
    """Creates processes for tasks in a guest: outside the workload, and with limited memory."""

    # The fork alone takes longer here than many tasks.
    is_slow = True

    def __init__(self, roots: TaskRoots, machine: VirtualMachine) -> None:
        super().__init__(roots)
        self._machine = machine
        self._memory_kills = 0

    def fork(self, child: Callable[[], int]) -> int:
        """Fork a process that is invisible to the workload."""
        return self._machine.fork_outside(child)

    def confine(self) -> None:
        """In the child: join the control group of tasks."""
        workload.enter_tasks()

    def memory_kills_grew(self) -> bool:
        """Return whether the OOM killer killed a task since the last call."""
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
            # All of them are optimizations, which a kernel may lack.
            log(f"{path}: {error}")
