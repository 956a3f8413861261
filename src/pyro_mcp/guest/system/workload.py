"""The workload's namespaces, control group, and PID 1.

The agent is outside: the workload can neither see it nor use up its memory and process ids. The agent's children are
forked into the workload's PID namespace, whose first process only adopts and reaps. The mount namespace has the
environment as its root and contains none of the agent's mounts; later mounts below the environment propagate into it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.guest import syscalls, terminals
from pyro_mcp.guest.processes.spawner import fork, send_signal
from pyro_mcp.guest.system import boot
from pyro_mcp.guest.system.devices import confine_devices

if TYPE_CHECKING:
    from pyro_mcp.guest.machine import FileVersion

CGROUPS = "/run/cgroup"
# The workload's limits are set on the parent of the group that it sees as root, where it can't reach them.
WALLS = f"{CGROUPS}/walls"
WORK = f"{WALLS}/work"
#: The group of the agent's tasks: outside WALLS, with a limit of its own.
TASKS = f"{CGROUPS}/tasks"
#: Contains the pid of the workload's PID 1, through which a task finds the workload's mounts.
PID_FILE = "/run/workload.pid"
# linux/capability.h: those that affect the machine behind the agent's back. Root keeps all others.
_DROPPED_CAPABILITIES = (16, 17, 22)  # CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT
_SPARED_PIDS = 256
_MAX_PIDS = 16384
# Memory reserved for the agent, the kernel's own structures, and their file cache.
_SPARED_MIB = 96
_SPARED_SHARE = 8
_EVENTS_BYTES = 4096


def make_cgroups() -> None:
    """Create the control groups of workload and tasks, with their limits."""
    os.makedirs(CGROUPS, exist_ok=True)
    syscalls.mount("cgroup", CGROUPS, "cgroup2", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    write_file(f"{CGROUPS}/cgroup.subtree_control", "+memory +pids")
    os.mkdir(WALLS)
    total_mib = _total_memory_mib()
    spared_mib = min(_SPARED_MIB, total_mib // _SPARED_SHARE * 2)
    write_file(f"{WALLS}/memory.max", str((total_mib - spared_mib) << 20))
    write_file(f"{WALLS}/pids.max", str(max(_SPARED_PIDS, min(_threads_max() - _SPARED_PIDS, _MAX_PIDS))))
    confine_devices(WALLS)
    os.mkdir(WORK)
    write_file(f"{WALLS}/cgroup.subtree_control", "+memory")
    os.mkdir(TASKS)
    # Most memory of tasks is file cache, which can be reclaimed.
    write_file(f"{TASKS}/memory.max", str((total_mib // 2) << 20))


def enter_tasks() -> None:
    """In a child of the agent: join the control group of tasks."""
    write_file(f"{TASKS}/cgroup.procs", "0")
    boot.limit_child()


def memory_kills(cgroup: str) -> int:
    """Return how many processes of a control group the OOM killer has killed."""
    fd = os.open(f"{cgroup}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memory_kills_in(os.read(fd, _EVENTS_BYTES))
    finally:
        os.close(fd)


def memory_kills_in(events: bytes) -> int:
    """Return the count of killed processes in the content of a memory.events file."""
    for line in events.splitlines():
        name, _, count = line.partition(b" ")
        if name == b"oom_kill":
            return int(count)
    return 0


def write_file(path: str, text: str) -> None:
    """Write to a kernel file in a single call."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _total_memory_mib() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(file.readline().split()[1]) >> 10


def _threads_max() -> int:
    with open("/proc/sys/kernel/threads-max", encoding="ascii") as file:
        return int(file.read())


class Namespaces:
    """The workload's namespaces, held open by descriptors, and their PID 1."""

    def __init__(self, assemble: Callable[[], None]) -> None:
        """Create them. `assemble` is called in the new mount namespace to make the environment its root."""
        # A new PID namespace must be a child of the agent's own, not of the one its children were last forked into.
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)
        syscalls.unshare(syscalls.CLONE_NEWPID)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._assemble = assemble
        self.pid = fork(lambda: self._be_init(writing))
        os.close(writing)
        ready = os.read(reading, 1)
        os.close(reading)
        if not ready:
            raise OSError(0, "the workload's PID 1 failed to start; see the console")
        self._mounts = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._cgroups = os.open(f"/proc/{self.pid}/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        self._pids = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        with open(PID_FILE, "w", encoding="ascii") as file:
            file.write(str(self.pid))
        # Opened before the workload runs, so that changes to its /dev don't matter.
        self._terminals = os.open(f"/proc/{self.pid}/root/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # It was in WORK only so that this group is the root of its cgroup namespace.
        write_file(f"{CGROUPS}/cgroup.procs", str(self.pid))
        # Each command's own group counts its processes killed by the OOM killer.
        write_file(f"{WORK}/cgroup.subtree_control", "+memory")

    def has_ended(self) -> bool:
        """Return whether their PID 1, and with it every process in them, has ended."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """Kill every process in them, and close them."""
        send_signal(self.pid, signal.SIGKILL)
        # PID 1 can be reaped only after all others. The agent must reap those that are its own children.
        ended, _ = os.waitpid(self.pid, os.WNOHANG)
        while ended != self.pid:
            ended, _ = os.waitpid(-1, 0)
        for fd in (self._mounts, self._cgroups, self._pids, self._own_pids, self._terminals):
            os.close(fd)

    @contextmanager
    def left(self) -> Generator[None]:
        """Within the block, fork into the agent's own PID namespace."""
        syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)
        try:
            yield
        finally:
            syscalls.setns(self._pids, syscalls.CLONE_NEWPID)

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudoterminal inside them."""
        return terminals.open_controlling_end("ptmx", self._terminals)

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of the file at an absolute path inside them, or None."""
        fds: list[int] = []
        try:
            fds.append(os.open(f"/proc/{self.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            how = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
            fds.append(syscalls.openat2(fds[0], path, os.O_PATH, how))
            found = os.fstat(fds[1])
        except OSError:
            return None
        finally:
            for fd in fds:
                os.close(fd)
        return found.st_ino, found.st_size, found.st_ctime_ns

    def enter(self, cgroup: str) -> None:
        """In a child of the agent: join the workload, in one of its control groups."""
        write_file(f"{cgroup}/cgroup.procs", "0")
        boot.limit_child()
        for capability in _DROPPED_CAPABILITIES:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        syscalls.setns(self._cgroups, syscalls.CLONE_NEWCGROUP)
        syscalls.setns(self._mounts, syscalls.CLONE_NEWNS)

    def _be_init(self, ready: int) -> int:
        syscalls.set_name("pyro-init")
        # The agent does not need this: the OOM killer never kills the machine's PID 1.
        write_file("/proc/self/oom_score_adj", "-1000")
        # A group that delegates controllers to its children can't have processes.
        write_file(f"{WORK}/cgroup.subtree_control", "-memory")
        write_file(f"{WORK}/cgroup.procs", "0")
        syscalls.unshare(syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
        self._assemble()
        # The kernel reaps the children of a process that ignores SIGCHLD, so this one never has to wake up.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.write(ready, b"1")
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        while True:
            signal.pause()
