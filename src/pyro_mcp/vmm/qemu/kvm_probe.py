"""Whether KVM works on this host, proven by booting a guest in it.

/dev/kvm may exist, take a machine, and never run an instruction of it. A proof holds for this boot of the host, and for
the same kernel, QEMU and device.
"""

from __future__ import annotations

import os
import stat
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
from pyro_mcp.vmm.qemu.probe_guest import SIGN_OF_LIFE, initramfs

CACHE_FILE = "kvm.json"
LOCK_FILE = "kvm.lock"

# A guest that runs at all is done in half a second under KVM, and in two under TCG.
PROBE_TIMEOUT_S = 5.0
# The VMM ends by itself after this, even if the prober is killed.
_PROBE_TTL_S = 30.0
_LOCK_TIMEOUT_S = 60.0
_MEM_MIB = 256
_CONSOLE_BYTES = 65536
# These say that no VM can be started whatever executes it.
_NOT_ABOUT_KVM = {ErrorCode.MISSING_PROGRAM, ErrorCode.PERMISSION, ErrorCode.NO_SPACE}


@dataclass(frozen=True, slots=True)
class KvmVerdict:
    """Whether KVM is usable, why not, and what to do about it."""

    usable: bool
    reason: str
    remedy: str = ""


def kvm_verdict(driver: Driver, cache_dir: Path, kernel: Path | None) -> KvmVerdict:
    """Return whether KVM works, from the last proof if it still holds, else by booting a guest (seconds, if it hangs).

    Raises:
        PyroError: BUSY if another process has been probing for a minute; what keeps QEMU from starting at all.
    """
    known = known_verdict(driver, cache_dir)
    if known is not None:
        return known
    if kernel is None:
        return KvmVerdict(
            usable=False,
            reason=f"no guest was booted with {KVM_DEVICE} yet to prove that it works",
            remedy="Build the guest image, which holds the kernel for that: `pyro env pull debian:12`",
        )
    ensure_private_dir(cache_dir)
    with file_lock(cache_dir / LOCK_FILE, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the test of KVM"):
        known = known_verdict(driver, cache_dir)
        if known is None:
            known = _prove(driver, cache_dir, kernel)
            write_cache(cache_dir / CACHE_FILE, {"circumstances": _circumstances(driver), "verdict": to_json(known)})
    return known


def known_verdict(driver: Driver, cache_dir: Path) -> KvmVerdict | None:
    """Return what is known without booting anything, or None if only a boot can tell."""
    return _look_at_device() or _read_cached(cache_dir / CACHE_FILE, _circumstances(driver))


def forget_verdict(cache_dir: Path) -> None:
    """Have the next start prove KVM again: a machine failed in it although it was proven."""
    with suppress(FileNotFoundError):
        os.unlink(cache_dir / CACHE_FILE)


def boot_probe_guest(
    driver: Driver, accelerator: Accelerator, kernel: Path, cache_dir: Path, *, timeout_s: float = PROBE_TIMEOUT_S
) -> tuple[bool, str]:
    """Boot the probe guest; return whether its user space ran in time, and the end of its console. Nothing is left.

    Raises:
        PyroError: what keeps QEMU from starting.
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


def _prove(driver: Driver, cache_dir: Path, kernel: Path) -> KvmVerdict:
    try:
        ran, console = boot_probe_guest(driver, Accelerator.KVM, kernel, cache_dir)
    except PyroError as error:
        if error.code in _NOT_ABOUT_KVM:
            raise
        return KvmVerdict(usable=False, reason=f"QEMU can't use {KVM_DEVICE}: {error.message}", remedy=_REPAIR)
    if ran:
        return KvmVerdict(usable=True, reason="a guest booted with it")
    words = console.splitlines()
    last = f"; its console said last: {words[-1][:200]}" if words else ", and printed nothing"
    reason = f"a guest booted with it did not get to user space within {PROBE_TIMEOUT_S:g} s{last}"
    return KvmVerdict(usable=False, reason=reason, remedy=_REPAIR)


_REPAIR = "Use a host whose virtualisation works; where it is nested, the outer hypervisor must support that."


def _look_at_device() -> KvmVerdict | None:
    """Return why KVM is out of the question, or None."""
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
        return KvmVerdict(usable=False, reason=f"{KVM_DEVICE} is no device", remedy=f"Remove it: rm {KVM_DEVICE}")
    if os.geteuid() == 0:
        # The VMM is not root, and gets the device's group if that has access.
        reason = f"root may open {KVM_DEVICE}, but the VMM runs as another user, who may not"
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
    """Return everything that the proof depends on."""
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
