"""System calls that Python 3.11 does not offer, with their errors checked.

Owns every use of ctypes in the guest. Refuses to decide anything: it makes a call or raises OSError.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36

RB_AUTOBOOT = 0x01234567

# x86_64 alone: the product runs nowhere else.
_SYS_FINIT_MODULE = 313
_SYS_BPF = 321

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.reboot.argtypes = (ctypes.c_int,)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount a file system; see mount(2)."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)
    _check(result, f"mount {source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """Take a mount away; see umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def unshare(flags: int) -> None:
    """Get new namespaces; see unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that `fd` stands for; see setns(2)."""
    _check(_libc.setns(fd, kind), "setns")


def prctl(option: int, value: int) -> None:
    """Change what the calling process may or is; see prctl(2)."""
    _check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def set_name(name: str) -> None:
    """Name the calling process, in at most 15 bytes, as `ps` shows it."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0), "prctl PR_SET_NAME")


def load_module(fd: int, parameters: str = "") -> None:
    """Load the kernel module in the file `fd`; see finit_module(2)."""
    _check(_libc.syscall(_SYS_FINIT_MODULE, fd, ctypes.c_char_p(parameters.encode()), 0), "finit_module")


def bpf(command: int, attributes: ctypes.Structure) -> int:
    """Make a bpf(2) call."""
    return _check(
        _libc.syscall(_SYS_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes)), f"bpf {command}"
    )


def power_off() -> None:
    """Switch the machine off, at once; see reboot(2).

    It has no power switch, and would stand still for ever. Where its VMM does not let it reboot, that ends it.
    """
    _check(_libc.reboot(RB_AUTOBOOT), "reboot")
