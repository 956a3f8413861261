"""Benchmark other ways to isolate a command without KVM, in the same run.

These are a minimal QEMU machine that cold-boots the same kernel and base image, and gVisor, which is not a virtual
machine. The row of a tool that is not installed says so.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, repeat
from pyro_mcp.host import process, programs
from pyro_mcp.image import cpio
from pyro_mcp.image.kit import find_kit
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.qemu.kernel_line import kernel_line

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.image.environments import InstalledEnvironment

# Loads the disk drivers, runs the command and powers off, as a hand-written script would.
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_mmio virtio_blk; do /bin/busybox insmod "/modules/$module.ko"; done
/bin/busybox mount -t ext4 -o ro /dev/vda /base
/bin/busybox chroot /base /bin/sh -c true
/bin/busybox reboot -f
"""


def rows(paths: Paths, environment: InstalledEnvironment, *, times: int) -> list[Row]:
    """Measure the plain QEMU machine and gVisor."""
    return [_plain_qemu(paths, environment, times), _gvisor(times)]


def _plain_qemu(paths: Paths, environment: InstalledEnvironment, times: int) -> Row:
    what = "plain QEMU, cold boot → sh -c true → off"
    kit = find_kit(paths)
    if kit is None:
        return Row(what, (), note="the boot source is not installed")
    with tempfile.TemporaryDirectory(prefix="pyro-bench-") as name:
        initramfs = Path(name) / "initramfs"
        entries = [
            cpio.file("init", _INIT.encode(), 0o755),
            cpio.file("bin/busybox", kit.busybox.read_bytes(), 0o755),
            *(cpio.file(f"modules/{each.name}", each.read_bytes()) for each in sorted(kit.modules.glob("*.ko"))),
            *(cpio.directory(each) for each in ("dev", "base")),
        ]
        with initramfs.open("wb") as out:
            cpio.write_archive(out, entries)
        command = _machine(kit.vmlinux, initramfs, environment.base_image)
        return repeat(what, lambda: process.run(command, timeout_s=120), times=times)


def _machine(kernel: Path, initramfs: Path, base: Path) -> list[str]:
    return [
        *("qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "Nehalem,+rdrand", "-m", "1024"),
        *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "null"),
        *("-kernel", str(kernel), "-initrd", str(initramfs)),
        # As for our guests: with fewer arguments the machine is slower, and sometimes hangs calibrating its clock.
        *("-append", kernel_line(Accelerator.TCG)),
        *("-drive", f"id=base,file={base},format=raw,if=none,readonly=on", "-device", "virtio-blk-device,drive=base"),
    ]


def _gvisor(times: int) -> Row:
    what = "gVisor, runsc do true (no VM)"
    if programs.look_up("runsc") is None:
        return Row(what, (), note="runsc is not installed (apt-get install runsc)")
    # Without a cgroup and network, so that it runs on hosts that offer neither.
    command = ("runsc", "--network=none", "--ignore-cgroups", "do", "true")
    done = process.run(command, timeout_s=60, check=False)
    if done.returncode != 0:
        return Row(what, (), note=f"runsc failed: {done.stderr.decode(errors='replace').strip()[-120:]}")
    return repeat(what, lambda: process.run(command, timeout_s=60), times=times)
