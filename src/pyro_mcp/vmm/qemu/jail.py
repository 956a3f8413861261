"""The jail around QEMU: what of the host it can see, and who it is there.

Where the host does not permit the jail, there is an error and no VM.

Inside: namespaces of its own (user, processes, network, IPC, host name, cgroups), no capabilities, an empty root
file system with QEMU's binary, libraries and firmware read-only, and a /proc that shows QEMU alone. Everything else
it has are the descriptors it was given.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import programs
from pyro_mcp.model.kinds import Accelerator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyro_mcp.vmm.qemu.binary import QemuBinary

KVM_DEVICE = "/dev/kvm"
#: Who QEMU is in its own user namespace: nobody.
INNER_ID = 65534

# Uids that no distribution gives to anybody: the range that systemd keeps for containers' users ends below.
_FIRST_UID = 1879048192
_UID_BITS = 20

_UID_MAP = "/proc/self/uid_map"
_LOADER_CACHE = "/etc/ld.so.cache"


def command(
    binary: QemuBinary,
    arguments: Sequence[str],
    *,
    info_fd: int,
    data: Mapping[str, int],
    devices: Iterable[str],
    filter_fd: int | None = None,
) -> list[str]:
    """Return the command that runs QEMU in its jail.

    To `info_fd` bubblewrap writes a JSON object with QEMU's pid as the host sees it. `data` are files in the jail and
    the descriptors that they are copied from; `devices` are device nodes of the host. `filter_fd` holds the filter of
    system calls (`seccomp.program`).

    Raises:
        PyroError: MISSING_PROGRAM.
    """
    found = [
        os.fspath(programs.find_program("bwrap")),
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(INNER_ID), "--gid", str(INNER_ID), "--cap-drop", "ALL"),
        # QEMU is process 1 of its namespace: its end is the end of everything in there.
        *("--die-with-parent", "--as-pid-1", "--new-session"),
        *("--clearenv", *_environment(binary)),
        *("--proc", "/proc", "--dir", "/boot"),
    ]
    found += _visible(binary)
    for path in devices:
        found += ["--dev-bind", path, path]
    for path, fd in data.items():
        found += ["--ro-bind-data", str(fd), path]
    if filter_fd is not None:
        found += ["--seccomp", str(filter_fd)]
    found += ["--remount-ro", "/", "--chdir", "/", "--info-fd", str(info_fd), "--", binary.path, *arguments]
    return found


def missing() -> list[PyroError]:
    """Return an error for each program that the jail needs and that is not there."""
    return [programs.missing_program(name) for name in ("bwrap", "setpriv") if programs.look_up(name) is None]


def devices(accelerator: Accelerator) -> list[str]:
    """Return the device nodes that QEMU needs."""
    return [KVM_DEVICE] if accelerator is Accelerator.KVM else []


def groups(accelerator: Accelerator) -> list[int]:
    """Return the groups that a VMM with a uid of its own needs: the one that may open the KVM device, if any."""
    if accelerator is not Accelerator.KVM:
        return []
    try:
        found = os.stat(KVM_DEVICE)
    except OSError:
        return []
    return [found.st_gid] if found.st_mode & stat.S_IRGRP and found.st_mode & stat.S_IWGRP and found.st_gid else []


def outer_uid() -> int | None:
    """Return the uid for a new VMM: one that nobody else has if this process is root, else None (this user's own).

    Root of a user namespace that lacks these uids (a rootless container's) is an ordinary user outside of it.
    """
    if os.geteuid() != 0 or not _is_mapped(_FIRST_UID, 1 << _UID_BITS):
        return None
    return _FIRST_UID + int.from_bytes(os.urandom(4), "little") % (1 << _UID_BITS)


def _is_mapped(first: int, count: int) -> bool:
    with open(_UID_MAP, encoding="ascii") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    return any(inside <= first and first + count <= inside + length for inside, _, length in ranges)


def explain(output: str) -> PyroError | None:
    """Return what to tell the user if `output` shows that this host does not permit the jail, else None."""
    if "bwrap:" not in output:
        return None
    line = next(line for line in output.splitlines() if "bwrap:" in line).strip()
    if "namespace" in line or "uid map" in line or "gid map" in line or "Operation not permitted" in line:
        return PyroError(
            ErrorCode.PERMISSION,
            f"this host does not let bubblewrap make the VMM's jail ({line})",
            hint="Allow user namespaces: sysctl user.max_user_namespaces=15000; on Debian also"
            " sysctl kernel.unprivileged_userns_clone=1; on Ubuntu an AppArmor profile for bwrap, or"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with `--privileged`.",
        )
    return PyroError(ErrorCode.UNAVAILABLE, f"bubblewrap could not make the VMM's jail: {line}")


def _visible(binary: QemuBinary) -> list[str]:
    """Return the arguments that show QEMU its own files, each under the names by which it looks for them.

    Whole library directories: a mount for each of fifty libraries would take longer than the rest of a restore.
    They hold what the distribution gives to everybody.
    """
    found: list[str] = []
    for path in (*binary.directories, _LOADER_CACHE, binary.path, binary.firmware):
        found += ["--ro-bind-try", path, path]
    for name, target in binary.links:
        found += ["--symlink", target, name]
    return found


def _environment(binary: QemuBinary) -> list[str]:
    # Threads that come and go would each get an arena of their own otherwise.
    found = ["--setenv", "MALLOC_ARENA_MAX", "2"]
    if binary.preload:
        found += ["--setenv", "LD_PRELOAD", " ".join(binary.preload)]
    return found
