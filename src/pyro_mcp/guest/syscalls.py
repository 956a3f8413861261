"""System calls that Python 3.11 lacks, with error checking. The guest uses ctypes only here."""

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
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36

RB_AUTOBOOT = 0x01234567

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

# linux/fs.h: SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER
_WRITE_AND_WAIT = 7
# x86_64 only: the product supports no other architecture.
_SYS_SYNC_FILE_RANGE = 277
_SYS_FINIT_MODULE = 313
_SYS_RENAMEAT2 = 316
_SYS_BPF = 321
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_OPENAT2 = 437

# linux/mount.h
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOATIME = 0x10

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
    """Unmount a file system; see umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces; see unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that `fd` refers to; see setns(2)."""
    _check(_libc.setns(fd, kind), "setns")


def prctl(option: int, value: int) -> None:
    """Change an attribute of the calling process; see prctl(2)."""
    _check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def keep_freed_memory() -> None:
    """Let the allocator keep freed memory, up to a limit, instead of returning it to the kernel; see mallopt(3).

    Otherwise the pages of short-lived bulk data buffers would be returned, and zeroed again, for each of them.
    """
    for option, value in ((_M_MMAP_THRESHOLD, 4 << 20), (_M_TRIM_THRESHOLD, 16 << 20), (_M_TOP_PAD, 1 << 20)):
        _libc.mallopt(option, value)


def set_name(name: str) -> None:
    """Set the name of the calling process, at most 15 bytes, as shown by `ps`."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0), "prctl PR_SET_NAME")


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """Open an existing file, with restricted path resolution; see openat2(2)."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    size = ctypes.sizeof(how)
    result = _libc.syscall(_SYS_OPENAT2, directory, ctypes.c_char_p(path), ctypes.byref(how), size)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def renameat2(old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> None:
    """Rename without replacing, or exchange two names; see renameat2(2)."""
    old_name, new_name = ctypes.c_char_p(old), ctypes.c_char_p(new)
    if _libc.syscall(_SYS_RENAMEAT2, old_directory, old_name, new_directory, new_name, flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_out(fd: int) -> None:
    """Write a file's content, but not its inode, to its disk; see sync_file_range(2)."""
    nothing = ctypes.c_int64(0)
    _check(_libc.syscall(_SYS_SYNC_FILE_RANGE, fd, nothing, nothing, _WRITE_AND_WAIT), "sync_file_range")


def syncfs(fd: int) -> None:
    """Flush a file system to its disk; see syncfs(2)."""
    _check(_libc.syncfs(fd), "syncfs")


def open_file_system(kind: str, source: str, options: dict[str, str], attributes: int) -> int:
    """Return the root of a detached mount, which is unmounted when its last descriptor is closed.

    See fsopen(2), fsconfig(2) and fsmount(2).
    """
    context = _check(_libc.syscall(_SYS_FSOPEN, ctypes.c_char_p(kind.encode()), _FSOPEN_CLOEXEC), f"fsopen {kind}")
    try:
        for name, value in {"source": source, **options}.items():
            key, text = ctypes.c_char_p(name.encode()), ctypes.c_char_p(value.encode() or None)
            command = _FSCONFIG_SET_STRING if value else _FSCONFIG_SET_FLAG
            _check(_libc.syscall(_SYS_FSCONFIG, context, command, key, text, 0), f"fsconfig {name}")
        create = (context, _FSCONFIG_CMD_CREATE, ctypes.c_char_p(None), ctypes.c_char_p(None), 0)
        _check(_libc.syscall(_SYS_FSCONFIG, *create), f"mount {source}")
        return _check(_libc.syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes), f"fsmount {source}")
    finally:
        os.close(context)


def load_module(fd: int, parameters: str = "") -> None:
    """Load a kernel module from `fd`; see finit_module(2)."""
    _check(_libc.syscall(_SYS_FINIT_MODULE, fd, ctypes.c_char_p(parameters.encode()), 0), "finit_module")


def bpf(command: int, attributes: ctypes.Structure) -> int:
    """Make a bpf(2) call."""
    return _check(
        _libc.syscall(_SYS_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes)), f"bpf {command}"
    )


def power_off() -> None:
    """Power the machine off immediately; see reboot(2).

    The machine has no power switch, so a power-off would halt it forever; a reboot ends it, since the VMM permits none.
    """
    _check(_libc.reboot(RB_AUTOBOOT), "reboot")
