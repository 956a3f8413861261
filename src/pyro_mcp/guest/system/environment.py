"""Mount the environment, the workload's root: base image and root disk as an overlay, with a running system's mounts.

The workload may have left any symbolic link on the root disk: none is followed out of the environment.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.console import log
from pyro_mcp.guest.disks import BASE_DEVICE, FITHAW, ROOT_DEVICE, ROOT_DISK_PLACE, WORKSPACE_DEVICE
from pyro_mcp.guest.system import secrets
from pyro_mcp.guest.tasks.staging import sweep

_BASE = "/mnt/base"
_ROOT = ROOT_DISK_PLACE
ENVIRONMENT = "/mnt/environment"
WORKSPACE = "/workspace"
#: The workload's /workspace, in the agent's mount namespace.
WORKSPACE_PLACE = ENVIRONMENT + WORKSPACE

# Without threads that zero inode tables and prefetch bitmaps: each clone would repeat their work.
_DISK_OPTIONS = "noinit_itable,no_prefetch_block_bitmaps"
# The group `tty`, on Debian and nearly everywhere else.
_TTY_GROUP = 5
_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_DIRECTORIES = {
    "/dev": 0o755,
    "/etc": 0o755,
    "/proc": 0o555,
    "/root": 0o700,
    "/run": 0o755,
    "/sys": 0o555,
    "/tmp": 0o1777,  # noqa: S108 - the guest's own
    WORKSPACE: 0o755,
}


def mount_base() -> None:
    """Mount the read-only base image."""
    for path in (_BASE, _ROOT, ENVIRONMENT):
        os.makedirs(path, exist_ok=True)
    syscalls.mount(BASE_DEVICE, _BASE, "ext4", syscalls.MS_RDONLY | syscalls.MS_NODEV)


def login_shell() -> bytes:
    """Return the environment's interactive shell."""
    return b"/bin/bash" if os.path.lexists(f"{_BASE}/bin/bash") else b"/bin/sh"


def mount_root() -> None:
    """Mount the root disk, and the environment: the base with the root disk's changes."""
    syscalls.mount(ROOT_DEVICE, _ROOT, "ext4", syscalls.MS_NODEV | syscalls.MS_NOATIME, _DISK_OPTIONS)
    upper, work = f"{_ROOT}/upper", f"{_ROOT}/work"
    for path in (upper, work):
        os.makedirs(path, exist_ok=True)
    options = f"lowerdir={_BASE},upperdir={upper},workdir={work}"
    syscalls.mount("overlay", ENVIRONMENT, "overlay", syscalls.MS_NODEV, options)
    # Shared: later mounts below it in the agent's namespace propagate into the workload's.
    syscalls.mount("none", ENVIRONMENT, "", syscalls.MS_SHARED)


def mount_workspace() -> None:
    """Mount the workspace disk. It propagates into the workload's namespace, to processes that already wait there."""
    # An earlier workload may have replaced the mount point by a link, or removed it.
    _make_directory(WORKSPACE_PLACE, _DIRECTORIES[WORKSPACE])
    syscalls.mount(WORKSPACE_DEVICE, WORKSPACE_PLACE, "ext4", syscalls.MS_NODEV | syscalls.MS_NOATIME, _DISK_OPTIONS)
    sweep(WORKSPACE_PLACE)


def mount_for_inspection(*, has_workspace: bool) -> None:
    """Mount the disks read-only; only their journals are replayed."""
    _mount_read_only(ROOT_DEVICE, _ROOT)
    upper = f"{_ROOT}/upper"
    if os.path.isdir(upper):
        # All layers are lower ones, so that nothing can be written.
        options = f"lowerdir={upper}:{_BASE}"
        syscalls.mount("overlay", ENVIRONMENT, "overlay", syscalls.MS_RDONLY | syscalls.MS_NODEV, options)
    else:
        syscalls.mount(_BASE, ENVIRONMENT, "", syscalls.MS_BIND)
    if not has_workspace:
        return
    # The workload may have replaced it by a link, which must not be followed.
    if stat.S_ISDIR(os.lstat(WORKSPACE_PLACE).st_mode):
        _mount_read_only(WORKSPACE_DEVICE, WORKSPACE_PLACE)
    else:
        log("/workspace is not a directory in the root: the workspace disk is not mounted")


def _mount_read_only(device: str, place: str) -> None:
    flags = syscalls.MS_RDONLY | syscalls.MS_NODEV | syscalls.MS_NOSUID
    try:
        syscalls.mount(device, place, "ext4", flags)
    except OSError:
        # The journal can't be replayed on a write-protected disk.
        syscalls.mount(device, place, "ext4", flags, "noload")


def thaw_disks() -> None:
    """Thaw the root and workspace disks, if they are frozen."""
    for place in (ROOT_DISK_PLACE, WORKSPACE_PLACE):
        # Without a workspace disk, the workload may have put anything there.
        with suppress(OSError):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, FITHAW, 0)
            finally:
                os.close(fd)


def unmount_all() -> None:
    """Unmount everything, so that the disks are clean. The workload must have ended."""
    for path in (WORKSPACE_PLACE, ENVIRONMENT, _ROOT, _BASE):
        if not os.path.ismount(path):
            continue
        try:
            syscalls.unmount(path)
        except OSError as error:
            log(str(error))


def assemble() -> None:
    """In the workload's new mount namespace: make the environment its root."""
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    secrets_place = os.open(secrets.PLACE, os.O_PATH | os.O_CLOEXEC)
    # After chroot, no link leads out of the environment.
    os.chroot(ENVIRONMENT)
    os.chdir("/")
    for path, mode in _DIRECTORIES.items():
        _make_directory(path, mode)
    quiet = syscalls.MS_NOSUID | syscalls.MS_NOEXEC | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", quiet)
    syscalls.mount("sysfs", "/sys", "sysfs", quiet | syscalls.MS_RDONLY)
    syscalls.mount("run", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0755,size=20%")
    os.mkdir("/run/lock", 0o1777)
    secrets.show(secrets_place)
    os.close(secrets_place)
    _make_devices()
    os.fchdir(outside)
    os.chroot(".")
    os.close(outside)
    for path in ("/dev", "/proc", "/sys", "/run", _BASE, _ROOT):
        syscalls.unmount(path, syscalls.MNT_DETACH)
    os.chdir(ENVIRONMENT)
    syscalls.mount(".", "/", "", syscalls.MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def _make_devices() -> None:
    syscalls.mount("dev", "/dev", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "mode=0755,size=1m")
    mask = os.umask(0)
    for name, (major, minor) in _NODES.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.mkdir("/dev/net", 0o755)
    os.mknod("/dev/net/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
    os.umask(mask)
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/pts", 0o755)
    os.mkdir("/dev/shm", 0o1777)  # noqa: S108 - the guest's own
    quiet = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    syscalls.mount("devpts", "/dev/pts", "devpts", quiet, f"newinstance,ptmxmode=0666,mode=0620,gid={_TTY_GROUP}")
    syscalls.mount("shm", "/dev/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777")  # noqa: S108


def _make_directory(path: str, mode: int) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return
        os.unlink(path)
    except FileNotFoundError:
        pass
    os.mkdir(path)
    os.chmod(path, mode)
