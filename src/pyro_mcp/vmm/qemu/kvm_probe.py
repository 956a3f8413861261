"""Test whether KVM works on this host by booting a guest with it.

/dev/kvm may exist and accept a VM without ever executing an instruction of it. A result is valid for this boot of the
host, and for the same kernel, QEMU and device.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import durable, process
from pyro_mcp.host.json_cache import read_cache, write_cache
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm.driver import BootFiles, BootPlan, Driver, MachineSpec
from pyro_mcp.vmm.qemu.jail import KVM_DEVICE

CACHE_FILE = "kvm.json"
LOCK_FILE = "kvm.lock"

# A working guest takes half a second under KVM, and two seconds under TCG.
PROBE_TIMEOUT_S = 5.0
# The VMM is killed after this time, even if this process is killed.
_PROBE_TTL_S = 30.0
_LOCK_TIMEOUT_S = 60.0
_MEM_MIB = 256
_CONSOLE_BYTES = 65536
# Errors that concern any accelerator.
_NOT_ABOUT_KVM = {ErrorCode.MISSING_PROGRAM, ErrorCode.PERMISSION, ErrorCode.NO_SPACE}


@dataclass(frozen=True, slots=True)
class KvmVerdict:
    """Whether KVM is usable, why not, and what to do about it."""

    usable: bool
    reason: str
    remedy: str = ""


def kvm_verdict(driver: Driver, cache_dir: Path, kernel: Path | None) -> KvmVerdict:
    """Return whether KVM works: from a cached result if still valid, otherwise by booting a guest (5 s if it hangs).

    Raises:
        PyroError: BUSY if another process has been testing for a minute; errors that keep QEMU from starting at all.
    """
    known = known_verdict(driver, cache_dir)
    if known is not None:
        return known
    if kernel is None:
        return KvmVerdict(
            usable=False,
            reason=f"{KVM_DEVICE} has not been tested yet",
            remedy="Build the guest image, which contains the kernel for the test: `pyro env pull debian:12`",
        )
    ensure_private_dir(cache_dir)
    with file_lock(cache_dir / LOCK_FILE, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the test of KVM"):
        known = known_verdict(driver, cache_dir)
        if known is None:
            known = _test(driver, cache_dir, kernel)
            write_cache(cache_dir / CACHE_FILE, {"circumstances": _circumstances(driver), "verdict": to_json(known)})
    return known


def known_verdict(driver: Driver, cache_dir: Path) -> KvmVerdict | None:
    """Return the verdict if it is known without booting anything, otherwise None."""
    return _check_device() or _read_cached(cache_dir / CACHE_FILE, _circumstances(driver))


def forget_verdict(cache_dir: Path) -> None:
    """Make the next start test KVM again, after a machine has failed to start with it."""
    with suppress(FileNotFoundError):
        os.unlink(cache_dir / CACHE_FILE)


def boot_probe_guest(
    driver: Driver, accelerator: Accelerator, kernel: Path, cache_dir: Path, *, timeout_s: float = PROBE_TIMEOUT_S
) -> tuple[bool, str]:
    """Boot the probe guest; return whether its user space ran in time, and the end of its console. Cleans up fully.

    Raises:
        PyroError: the error that keeps QEMU from starting.
    """
    directory = ensure_private_dir(cache_dir / f".probe-{os.urandom(8).hex()}")
    try:
        archive = directory / "initramfs"
        archive.write_bytes(initramfs())
        spec = MachineSpec(
            vm_id="probe",
            shape=Shape(vcpu_count=1, mem_mib=_MEM_MIB),
            drives=(),
            runtime_dir=ensure_private_dir(directory / "run"),
            state_dir=directory,
            ttl_s=_PROBE_TTL_S,
            remove_at_end=(directory / "run",),
            remove_at_ttl=(directory,),
        )
        machine = driver.boot(BootPlan(spec, accelerator, BootFiles(kernel, archive)))
        try:
            # The guest ends the machine itself.
            machine.wait_for_end(timeout_s)
        finally:
            machine.kill()
        console = machine.console_tail(_CONSOLE_BYTES)
        return SIGN_OF_LIFE in console, console
    finally:
        durable.remove_tree(directory)


def _test(driver: Driver, cache_dir: Path, kernel: Path) -> KvmVerdict:
    try:
        ran, console = boot_probe_guest(driver, Accelerator.KVM, kernel, cache_dir)
    except PyroError as error:
        if error.code in _NOT_ABOUT_KVM:
            raise
        return KvmVerdict(usable=False, reason=f"QEMU can't use {KVM_DEVICE}: {error.message}", remedy=_REPAIR)
    if ran:
        return KvmVerdict(usable=True, reason="a test guest booted with it")
    lines = console.splitlines()
    last = f"; the last line on its console: {lines[-1][:200]}" if lines else "; its console is empty"
    reason = f"a test guest did not reach user space within {PROBE_TIMEOUT_S:g} s{last}"
    return KvmVerdict(usable=False, reason=reason, remedy=_REPAIR)


_REPAIR = "Use a host with working virtualisation; if it is itself a VM, its hypervisor must support nesting."


def _check_device() -> KvmVerdict | None:
    """Return why the KVM device can't be used, or None if it can."""
    try:
        found = os.stat(KVM_DEVICE)
    except OSError:
        return KvmVerdict(
            usable=False,
            reason=f"{KVM_DEVICE} is absent",
            remedy="Enable virtualisation in the firmware, or nested virtualisation in the outer VM, and load the"
            " module: modprobe kvm_intel, or modprobe kvm_amd",
        )
    if not stat.S_ISCHR(found.st_mode):
        return KvmVerdict(usable=False, reason=f"{KVM_DEVICE} is not a device", remedy=f"Remove it: rm {KVM_DEVICE}")
    if os.geteuid() == 0:
        # The VMM does not run as root, but is given the device's group if that has access.
        reason = f"root may open {KVM_DEVICE}, but the VMM runs as another user, which may not"
        may_open = found.st_mode & 0o006 == 0o006 or (found.st_mode & 0o060 == 0o060 and found.st_gid != 0)
        remedy = f"Give it to a group: chgrp kvm {KVM_DEVICE} && chmod 660 {KVM_DEVICE}"
    else:
        reason = f"this user may not open {KVM_DEVICE}"
        may_open = os.access(KVM_DEVICE, os.R_OK | os.W_OK)
        remedy = 'Join its group and log in again: sudo usermod -aG kvm "$USER"'
    if may_open:
        return None
    return KvmVerdict(usable=False, reason=reason, remedy=remedy)


def _circumstances(driver: Driver) -> dict[str, object]:
    """Return everything that a result depends on."""
    found = os.stat(KVM_DEVICE)
    return {
        "boot_id": process.boot_id(),
        "kernel": os.uname().release,
        "vmm": driver.identity().fingerprint,
        "device": [found.st_rdev, found.st_ino, found.st_mode, found.st_uid, found.st_gid],
        "user": os.geteuid(),
    }


def _read_cached(path: Path, circumstances: dict[str, object]) -> KvmVerdict | None:
    document = read_cache(path)
    if document.get("circumstances") != circumstances:
        return None
    with suppress(PyroError):
        return from_json(KvmVerdict, document.get("verdict"))
    return None


#: The console shows this once user space has run.
SIGN_OF_LIFE = "pyro-probe: user space runs"

_LOAD_ADDRESS = 0x400000
_ELF_HEADER_BYTES = 64
_PROGRAM_HEADER_BYTES = 56
_CODE_OFFSET = _ELF_HEADER_BYTES + _PROGRAM_HEADER_BYTES


def initramfs() -> bytes:
    """Return a cpio archive (format newc) with only `/init`. The kernel provides `/dev/console` itself.

    The archive is built here, so that only the kernel is needed from the boot source.
    """
    archive = _cpio_entry("init", _init(), mode=0o100755) + _cpio_entry("TRAILER!!!", b"", mode=0)
    return archive + bytes(-len(archive) % 512)


def _init() -> bytes:
    """Return a static x86-64 program: write the sign of life to the console, then reboot."""
    text = f"{SIGN_OF_LIFE}\n".encode()
    code = bytes.fromhex(
        "b801000000"  # mov eax, 1 (write)
        "bf01000000"  # mov edi, 1
        "488d3522000000"  # lea rsi, [rip + 34]: the text, which follows the code
        f"ba{len(text):02x}000000"  # mov edx, length
        "0f05"  # syscall
        "b8a9000000"  # mov eax, 169 (reboot), with its two magic numbers and RB_AUTOBOOT
        "bfaddee1fe"  # mov edi, 0xfee1dead
        "be69191228"  # mov esi, 0x28121969
        "ba67452301"  # mov edx, 0x01234567
        "4531d2"  # xor r10d, r10d
        "0f05"  # syscall
        "ebfe"  # jmp to itself: a reboot takes a moment
    )
    file_bytes = _CODE_OFFSET + len(code) + len(text)
    # Elf64_Ehdr and Elf64_Phdr, elf(5): an executable of one segment, readable and executable.
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        2,
        62,
        1,
        _LOAD_ADDRESS + _CODE_OFFSET,
        _ELF_HEADER_BYTES,
        0,
        0,
        _ELF_HEADER_BYTES,
        _PROGRAM_HEADER_BYTES,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, file_bytes, file_bytes, 0x1000)
    return header + segment + code + text


def _cpio_entry(name: str, data: bytes, *, mode: int) -> bytes:
    encoded = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)
