"""The workload's namespaces, control group, and PID 1.

The agent stands outside: the workload can neither see it nor take its memory and processes. The agent's children are
born into the workload's PID namespace, whose first process does nothing but adopt and reap. The mount namespace has
the environment as its root and nothing of the agent's beside it; what the agent mounts below the environment later
propagates into it.
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
# The workload's limits are set one level above the group that it sees as the root: it has no way to there.
WALLS = f"{CGROUPS}/walls"
WORK = f"{WALLS}/work"
#: Where the agent's own tasks are: outside the walls, and with a bound of their own.
TASKS = f"{CGROUPS}/tasks"
#: Names the workload's PID 1, by which a task finds what the workload sees.
PID_FILE = "/run/workload.pid"
# linux/capability.h: what would reach around the agent to the machine. All else that root does in a machine stays.
_DROPPED_CAPABILITIES = (16, 17, 22)  # CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT
_SPARED_PIDS = 256
_MAX_PIDS = 16384
# For the agent, the kernel's own structures, and the file cache that keeps both going.
_SPARED_MIB = 96
_SPARED_SHARE = 8
_EVENTS_BYTES = 4096


def make_cgroups() -> None:
    """Make the workload's control group, with what memory and processes it may have."""
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
    # Most of what tasks use is file cache, which they go on without.
    write_file(f"{TASKS}/memory.max", str((total_mib // 2) << 20))


def enter_tasks() -> None:
    """In a child of the agent: become one of its tasks."""
    write_file(f"{TASKS}/cgroup.procs", "0")
    boot.limit_child()


def memory_kills(cgroup: str) -> int:
    """Return how many processes of a control group the kernel has killed for want of memory."""
    fd = os.open(f"{cgroup}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memory_kills_in(os.read(fd, _EVENTS_BYTES))
    finally:
        os.close(fd)


def memory_kills_in(events: bytes) -> int:
    """Return what the content of a memory.events file counts as killed."""
    for line in events.splitlines():
        name, _, count = line.partition(b" ")
        if name == b"oom_kill":
            return int(count)
    return 0


def write_file(path: str, text: str) -> None:
    """Write to a file of the kernel's in one call."""
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
        """Make them. `assemble`, called in the new mount namespace, makes the environment its root."""
        # A namespace can only be made from the agent's own, not from that of its last children.
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
            raise OSError(0, "the workload's first process failed; the console says why")
        self._mounts = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._cgroups = os.open(f"/proc/{self.pid}/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        self._pids = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        with open(PID_FILE, "w", encoding="ascii") as file:
            file.write(str(self.pid))
        # Before anything of the workload's runs: what it does to its /dev later does not matter to this.
        self._terminals = os.open(f"/proc/{self.pid}/root/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # It was in there only so that its namespace has that group as its root.
        write_file(f"{CGROUPS}/cgroup.procs", str(self.pid))
        # Each command's own group counts what the kernel kills of it.
        write_file(f"{WORK}/cgroup.subtree_control", "+memory")

    def has_ended(self) -> bool:
        """Say whether their PID 1 is gone, and with it everything in them."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """Kill everything in them, and forget them."""
        send_signal(self.pid, signal.SIGKILL)
        # The kernel lets it go only after all others are gone; those that the agent started are the agent's to reap.
        ended, _ = os.waitpid(self.pid, os.WNOHANG)
        while ended != self.pid:
            ended, _ = os.waitpid(-1, 0)
        for fd in (self._mounts, self._cgroups, self._pids, self._own_pids, self._terminals):
            os.close(fd)

    @contextmanager
    def left(self) -> Generator[None]:
        """Let what is forked in the block be no part of them."""
        syscalls.setns(self._own_pids, syscalls.CLONE_NEWPID)
        try:
            yield
        finally:
            syscalls.setns(self._pids, syscalls.CLONE_NEWPID)

    def open_terminal(self) -> int:
        """Return the controlling end of a new pseudo terminal of theirs."""
        return terminals.open_controlling_end("ptmx", self._terminals)

    def file_version(self, path: bytes) -> FileVersion | None:
        """Return the version of what is at an absolute path of theirs, or None."""
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
        """In a child of the agent: become part of the workload, in one of its control groups."""
        write_file(f"{cgroup}/cgroup.procs", "0")
        boot.limit_child()
        for capability in _DROPPED_CAPABILITIES:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        syscalls.setns(self._cgroups, syscalls.CLONE_NEWCGROUP)
        syscalls.setns(self._mounts, syscalls.CLONE_NEWNS)

    def _be_init(self, ready: int) -> int:
        syscalls.set_name("pyro-init")
        # The agent needs no such thing: the kernel never kills the machine's own first process.
        write_file("/proc/self/oom_score_adj", "-1000")
        # A group whose children have controllers can't be entered.
        write_file(f"{WORK}/cgroup.subtree_control", "-memory")
        write_file(f"{WORK}/cgroup.procs", "0")
        syscalls.unshare(syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
        self._assemble()
        # The kernel reaps for a process that ignores this signal: it never even wakes up.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.write(ready, b"1")
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        while True:
            signal.pause()
