"""The jail around QEMU: the parts of the host that it can see, and its identity.

If the host does not permit the jail, starting a VM fails.

Inside, QEMU has its own namespaces (user, PID, network, IPC, host name, cgroup), no capabilities, an empty root file
system with its binary, libraries and firmware read-only, and a /proc that shows only QEMU. Apart from that it has only
the descriptors that it inherits.
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
#: QEMU's uid and gid in its own user namespace: nobody.
INNER_ID = 65534

# A range of uids that no distribution assigns: it starts above the range that systemd reserves for containers.
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

    bubblewrap writes a JSON object with QEMU's pid on the host to `info_fd`. `data` maps files in the jail to the
    descriptors that they are copied from; `devices` are device nodes of the host. `filter_fd` contains the system call
    filter (`seccomp.program`).

    Raises:
        PyroError: MISSING_PROGRAM.
    """
    found = [
        os.fspath(programs.find_program("bwrap")),
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(INNER_ID), "--gid", str(INNER_ID), "--cap-drop", "ALL"),
        # QEMU is PID 1 of its namespace, so that every process in it ends with QEMU.
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
    """Return an error for each program that the jail needs and that is not installed."""
    return [programs.missing_program(name) for name in ("bwrap", "setpriv") if programs.look_up(name) is None]


def devices(accelerator: Accelerator) -> list[str]:
    """Return the device nodes that QEMU needs."""
    return [KVM_DEVICE] if accelerator is Accelerator.KVM else []


def groups(accelerator: Accelerator) -> list[int]:
    """Return the supplementary groups of a VMM with its own uid: the one with access to the KVM device, if any."""
    if accelerator is not Accelerator.KVM:
        return []
    try:
        found = os.stat(KVM_DEVICE)
    except OSError:
        return []
    return [found.st_gid] if found.st_mode & stat.S_IRGRP and found.st_mode & stat.S_IWGRP and found.st_gid else []


def outer_uid() -> int | None:
    """Return the uid for a new VMM: an unused one if this process is root, otherwise None (this user's own).

    Root in a user namespace that lacks these uids (a rootless container) is treated as an ordinary user.
    """
    if os.geteuid() != 0 or not _is_mapped(_FIRST_UID, 1 << _UID_BITS):
        return None
    return _FIRST_UID + int.from_bytes(os.urandom(4), "little") % (1 << _UID_BITS)


def _is_mapped(first: int, count: int) -> bool:
    with open(_UID_MAP, encoding="ascii") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    return any(inside <= first and first + count <= inside + length for inside, _, length in ranges)


def explain(output: str) -> PyroError | None:
    """Return an error if `output` shows that this host does not permit the jail, otherwise None."""
    if "bwrap:" not in output:
        return None
    line = next(line for line in output.splitlines() if "bwrap:" in line).strip()
    if "namespace" in line or "uid map" in line or "gid map" in line or "Operation not permitted" in line:
        return PyroError(
            ErrorCode.PERMISSION,
            f"this host does not allow bubblewrap to create the VMM's jail ({line})",
            hint="Allow user namespaces: sysctl user.max_user_namespaces=15000; on Debian also"
            " sysctl kernel.unprivileged_userns_clone=1; on Ubuntu an AppArmor profile for bwrap, or"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with `--privileged`.",
        )
    return PyroError(ErrorCode.UNAVAILABLE, f"bubblewrap could not create the VMM's jail: {line}")


def _visible(binary: QemuBinary) -> list[str]:
    """Return the arguments that mount QEMU's own files, under the names by which it looks them up.

    Library directories are mounted as a whole: one mount for each of fifty libraries would take longer than the rest of
    a restore. They contain only the distribution's public files.
    """
    found: list[str] = []
    for path in (*binary.directories, _LOADER_CACHE, binary.path, binary.firmware):
        found += ["--ro-bind-try", path, path]
    for name, target in binary.links:
        found += ["--symlink", target, name]
    return found


def _environment(binary: QemuBinary) -> list[str]:
    # Otherwise each short-lived thread would get its own arena.
    found = ["--setenv", "MALLOC_ARENA_MAX", "2"]
    if binary.preload:
        found += ["--setenv", "LD_PRELOAD", " ".join(binary.preload)]
    return found
