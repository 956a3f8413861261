"""The system calls that QEMU may make: a filter in addition to QEMU's own sandbox.

QEMU's sandbox is a deny list that leaves three hundred calls; this is an allow list. bubblewrap loads it immediately
before executing QEMU, so it applies to every thread from the first instruction on.

The list consists of the calls that strace recorded in our tests (boot, template, restore, network, snapshot, reset,
disk export, stop), plus a margin for other versions of QEMU and the C library. Any other call fails with ENOSYS, so
that the C library falls back to an older call if it can. Calls of another architecture, or of the x32 ABI, whose
numbers would bypass the list, kill the process.

The program is classic BPF (linux/filter.h, linux/seccomp.h). It needs only five kinds of instructions, and there is no
maintained library for it in a package index.
"""

from __future__ import annotations

import struct

_MEASURED = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20,
    "access": 21, "madvise": 28, "sendmsg": 46, "recvmsg": 47, "listen": 50, "getsockname": 51, "getpeername": 52,
    "setsockopt": 54, "getsockopt": 55, "exit": 60, "fcntl": 72, "fdatasync": 75, "unlink": 87, "readlink": 89,
    "sysinfo": 99, "statfs": 137, "fstatfs": 138, "arch_prctl": 158, "gettid": 186, "futex": 202,
    "sched_getaffinity": 204, "set_tid_address": 218, "clock_nanosleep": 230, "exit_group": 231, "epoll_wait": 232,
    "epoll_ctl": 233, "set_mempolicy": 238, "get_mempolicy": 239, "openat": 257, "newfstatat": 262, "ppoll": 271,
    "set_robust_list": 273, "accept4": 288, "signalfd4": 289, "eventfd2": 290, "epoll_create1": 291, "preadv": 295,
    "pwritev": 296, "prlimit64": 302, "seccomp": 317, "getrandom": 318, "memfd_create": 319, "rseq": 334,
    # bubblewrap needs it to execute QEMU; afterwards QEMU's own sandbox kills the process for it.
    "execve": 59,
}  # fmt: skip
_MARGIN = {
    # Equivalents used without the vDSO, in signal handlers, by newer versions of the C library or QEMU, and on abort.
    "fstat": 5, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "dup": 32, "nanosleep": 35, "getpid": 39,
    "sendto": 44, "recvfrom": 45, "shutdown": 48, "uname": 63, "fsync": 74, "ftruncate": 77, "gettimeofday": 96,
    "sigaltstack": 131, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "tgkill": 234,
    "fallocate": 285, "pipe2": 293, "getcpu": 309, "membarrier": 324, "statx": 332, "faccessat2": 439,
}  # fmt: skip

_CLONE_THREAD = 0x00010000
_TCGETS, _TCSETS, _FIONBIO, _FIONREAD = 0x5401, 0x5402, 0x5421, 0x541B
_PR_SET_NAME, _PR_SET_TIMERSLACK, _PR_MCE_KILL, _PR_SET_NO_NEW_PRIVS = 15, 29, 33, 38
# The kernel uses only 32 bits of these arguments, so comparing the lower half suffices: (number, argument, values).
_ONLY_WITH = {
    "ioctl": (16, 1, (_TCGETS, _TCSETS, _FIONBIO, _FIONREAD)),
    "prctl": (157, 0, (_PR_SET_NAME, _PR_SET_TIMERSLACK, _PR_MCE_KILL, _PR_SET_NO_NEW_PRIVS)),
}
# New threads only, no new processes. The flags of clone3 are in memory, where a filter can't see them: it fails, and
# the C library falls back to clone.
_CLONE = 56

ALLOWED: dict[str, int] = {
    **_MEASURED, **_MARGIN, "clone": _CLONE, **{name: number for name, (number, _, _) in _ONLY_WITH.items()}
}  # fmt: skip

ENOSYS = 38
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | ENOSYS, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16
_X86_64 = 0xC000003E
_X32_BIT = 0x40000000


def program() -> bytes:
    """Return the filter as an array of `struct sock_filter`, for `bwrap --seccomp`."""
    plain = sorted({*_MEASURED.values(), *_MARGIN.values()})
    code = [
        _instruction(_LOAD, _AT_ARCHITECTURE),
        _instruction(_JUMP_EQUAL, _X86_64, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _AT_NUMBER),
        _instruction(_JUMP_AT_LEAST, _X32_BIT, 0, 1),
        _instruction(_RETURN, _KILL),
    ]
    for number, argument, values in _ONLY_WITH.values():
        tests = [_instruction(_JUMP_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
        code += _conditional(number, argument, tests)
    code += _conditional(_CLONE, 0, [_instruction(_JUMP_ANY_BIT, _CLONE_THREAD, 1, 0)])
    # The most frequent calls have low numbers, so a linear search is short.
    code += [_instruction(_JUMP_EQUAL, number, len(plain) - place, 0) for place, number in enumerate(plain)]
    code += [_instruction(_RETURN, _REFUSE), _instruction(_RETURN, _ALLOW)]
    return b"".join(code)


def _conditional(number: int, argument: int, tests: list[bytes]) -> list[bytes]:
    """Return the code that allows one call by an argument: each test jumps past the refusal if the value is allowed."""
    return [
        _instruction(_JUMP_EQUAL, number, 0, len(tests) + 3),
        _instruction(_LOAD, _AT_ARGUMENTS + 8 * argument),
        *tests,
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
