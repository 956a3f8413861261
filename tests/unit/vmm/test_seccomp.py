"""The filter of system calls, tried by a program in the very jail that QEMU runs in."""

from __future__ import annotations

import os
import signal
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.qemu import jail, seccomp
from pyro_mcp.vmm.qemu.binary import QemuBinary
from pyro_mcp.vmm.qemu.launch import _open_filter  # pyright: ignore[reportPrivateUsage]
from tests.support.call_probe import INT_80, SYSCALL, write_probe

if TYPE_CHECKING:
    from pathlib import Path

# What a QEMU that its guest has taken over would want: other processes, the network, the kernel's large surfaces.
WANTED = {
    "open": 2, "socket": 41, "connect": 42, "accept": 43, "bind": 49, "fork": 57, "vfork": 58, "kill": 62,
    "getdents64": 217, "mkdir": 83, "rename": 82, "link": 86, "symlink": 88, "chmod": 90, "ptrace": 101, "setuid": 105,
    "mount": 165, "umount2": 166, "init_module": 175, "unshare": 272, "setns": 308, "process_vm_readv": 310,
    "kexec_load": 246, "add_key": 248, "keyctl": 250, "perf_event_open": 298, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425,
    "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438, "landlock_create_ruleset": 444,
}  # fmt: skip
GETPID, IOCTL, CLONE, PRCTL, X32_BIT = 39, 16, 56, 157, 0x40000000
TIOCSTI, FIONBIO, SIGCHLD, SET_DUMPABLE, SET_NO_NEW_PRIVS = 0x5412, 0x5421, 17, 4, 38
EBADF = 9
BWRAP_SIGNALLED = 128


def run(
    tmp_path: Path, calls: list[tuple[int, int, int]], accelerator: Accelerator, gate: bytes = SYSCALL
) -> process.Completed:
    """Run the calls in the jail, as QEMU would be run."""
    probe = tmp_path / "probe"
    write_probe(probe, calls, gate)
    binary = QemuBinary(os.fspath(probe), "7.2.0", os.devnull, (), (), (), (), ())
    with ExitStack() as stack:
        info = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, info)
        filter_fd = _open_filter(accelerator, stack)
        command = jail.command(binary, [], info_fd=info, data={}, devices=[], filter_fd=filter_fd)
        passed = [info] if filter_fd is None else [info, filter_fd]
        return process.run(command, timeout_s=30, check=False, pass_fds=passed)


def results(tmp_path: Path, calls: list[tuple[int, int, int]], accelerator: Accelerator = Accelerator.TCG) -> list[int]:
    done = run(tmp_path, calls, accelerator)
    assert done.returncode == 0, done
    return list(struct.unpack(f"<{len(calls)}q", done.stdout))


def test_no_more_than_ninety_calls_are_allowed() -> None:
    assert len(seccomp.ALLOWED) <= 90
    assert len(set(seccomp.ALLOWED.values())) == len(seccomp.ALLOWED)
    assert not WANTED.keys() & seccomp.ALLOWED.keys()


def test_a_call_that_is_not_in_the_list_fails_and_the_program_goes_on(tmp_path: Path) -> None:
    calls = [(number, 0, 0) for number in WANTED.values()]
    found = dict(zip(WANTED, results(tmp_path, [*calls, (GETPID, 0, 0)]), strict=False))
    assert found == dict.fromkeys(WANTED, -seccomp.ENOSYS)
    assert results(tmp_path, [*calls, (GETPID, 0, 0)])[-1] == 1


def test_an_argument_decides_where_a_call_can_do_too_much(tmp_path: Path) -> None:
    assert results(
        tmp_path,
        [
            (IOCTL, 99, FIONBIO),
            (IOCTL, 99, TIOCSTI),
            (IOCTL, 99, 1 << 32 | TIOCSTI),
            (PRCTL, SET_NO_NEW_PRIVS, 1),
            (PRCTL, SET_DUMPABLE, 1),
            (CLONE, SIGCHLD, 0),
        ],
    ) == [-EBADF, -seccomp.ENOSYS, -seccomp.ENOSYS, 0, -seccomp.ENOSYS, -seccomp.ENOSYS]


def test_the_x32_abi_is_the_end_of_a_program(tmp_path: Path) -> None:
    done = run(tmp_path, [(X32_BIT | GETPID, 0, 0)], Accelerator.TCG)
    assert (done.returncode, done.stdout) == (BWRAP_SIGNALLED + signal.SIGSYS, b"")


def test_a_call_of_another_architecture_is_the_end_of_a_program(tmp_path: Path) -> None:
    done = run(tmp_path, [(20, 0, 0)], Accelerator.TCG, INT_80)
    # A kernel without 32-bit programs ends it by itself.
    assert done.returncode in {BWRAP_SIGNALLED + signal.SIGSYS, BWRAP_SIGNALLED + signal.SIGSEGV}
    assert done.stdout == b""


@pytest.mark.parametrize("number", [GETPID, WANTED["ptrace"]])
def test_without_the_filter_the_same_program_is_answered(tmp_path: Path, number: int) -> None:
    assert results(tmp_path, [(number, 0, 0)], Accelerator.KVM)[0] != -seccomp.ENOSYS
