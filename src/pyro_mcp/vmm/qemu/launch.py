"""Start one QEMU: descriptors, jail and keeper, until its monitor answers."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.host.files import open_regular
from pyro_mcp.host.sockets import connect_unix, listen_unix
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.vmm.keeper import Limits
from pyro_mcp.vmm.qemu import argv, jail, seccomp
from pyro_mcp.vmm.qemu.machine import MONITOR, QemuMachine
from pyro_mcp.vmm.qemu.qmp import QmpClient
from pyro_mcp.vmm.start import Command, started
from pyro_mcp.vmm.transport import listen_lanes

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import ExitStack

    from pyro_mcp.host.waiting import Deadline
    from pyro_mcp.vmm.driver import BootFiles, Drive, MachineSpec
    from pyro_mcp.vmm.qemu.binary import QemuBinary


_MIB = 1024 * 1024
# QEMU's own memory: the translation cache, its heap, and 8 MB of stack for each of up to 64 disk threads and each
# virtual processor. Most of it is reserved but never used.
_OWN_MEMORY_BYTES = 2048 * _MIB
_BOOT_FILE_BYTES = 1024 * _MIB


@dataclass(frozen=True, slots=True)
class Launch:
    """A machine to start: hardware, the guest's memory, and a kernel; without one, QEMU waits for a restore."""

    spec: MachineSpec
    hardware: argv.Hardware
    ram_fd: int | None = None
    ram_use: argv.Ram = argv.Ram.NONE
    #: The file to save the memory to, if the machine is to become a template.
    ram_file: str = ""
    boot: BootFiles | None = None
    kernel_line: str | None = None


@contextmanager
def launched(binary: QemuBinary, launch: Launch, deadline: Deadline) -> Generator[tuple[QemuMachine, QmpClient]]:
    """Start QEMU and yield the machine and its monitor. The machine is killed if the block raises.

    Raises:
        PyroError: the errors of `started`; PERMISSION if this host does not permit the jail.
    """
    spec = launch.spec

    def prepare(info_fd: int, inherited: ExitStack) -> Command:
        return _prepare(binary, launch, info_fd, inherited)

    with (
        started(
            spec,
            QemuMachine,
            prepare,
            kind=VmmKind.QEMU,
            accelerator=launch.hardware.accelerator,
            facts={"ram_file": launch.ram_file} if launch.ram_file else {},
            explain=jail.explain,
            deadline=deadline,
        ) as machine,
        QmpClient(connect_unix(spec.runtime_dir / MONITOR, deadline.remaining_s())) as monitor,
    ):
        monitor.negotiate(deadline)
        yield machine, monitor


def _prepare(binary: QemuBinary, launch: Launch, info_fd: int, inherited: ExitStack) -> Command:
    spec, hardware = launch.spec, launch.hardware
    wiring = argv.Wiring(
        drives=tuple(_open_drive(drive, inherited) for drive in spec.drives),
        lanes=tuple(inherited.enter_context(lane).fileno() for lane in listen_lanes(spec.runtime_dir, hardware.lanes)),
        monitor=inherited.enter_context(listen_unix(spec.runtime_dir / MONITOR)).fileno(),
        network=spec.network_fd,
        ram=launch.ram_fd,
        ram_use=launch.ram_use,
        ram_read_only=binary.opens_ram_read_only,
    )
    data: dict[str, int] = {}
    if launch.boot is not None:
        for name, path in {argv.KERNEL: launch.boot.kernel, argv.INITRAMFS: launch.boot.initramfs}.items():
            data[name] = open_regular(path, "the boot file")
            inherited.callback(os.close, data[name])
    arguments = argv.arguments(hardware, wiring, firmware=binary.firmware, append=launch.kernel_line)
    filter_fd = _open_filter(hardware.accelerator, inherited)
    jailed = jail.command(
        binary,
        arguments,
        info_fd=info_fd,
        data=data,
        devices=jail.devices(hardware.accelerator),
        filter_fd=filter_fd,
    )
    passed = [*wiring.descriptors(), *data.values(), *([] if filter_fd is None else [filter_fd])]
    return Command(
        jailed,
        passed,
        user=jail.outer_uid(),
        groups=jail.groups(hardware.accelerator),
        limits=_limits(launch, wiring),
        flush=spec.flush,
    )


def _limits(launch: Launch, wiring: argv.Wiring) -> Limits:
    ram_bytes = launch.hardware.shape.mem_mib * _MIB
    sizes = [os.fstat(drive.fd).st_size for drive in wiring.drives if not drive.read_only]
    sizes += [os.fstat(wiring.ram).st_size] if wiring.ram is not None else []
    # bubblewrap copies kernel and initramfs into the jail under the same limit.
    return Limits(data_bytes=ram_bytes + _OWN_MEMORY_BYTES, file_bytes=max([*sizes, _BOOT_FILE_BYTES]))


def _open_filter(accelerator: Accelerator, inherited: ExitStack) -> int | None:
    """Return a file with the system call filter. With KVM, whose calls were not traced, only QEMU's own applies."""
    if accelerator is not Accelerator.TCG:
        return None
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    inherited.callback(os.close, fd)
    os.write(fd, seccomp.program())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _open_drive(drive: Drive, inherited: ExitStack) -> argv.DriveWiring:
    fd = open_regular(drive.path, "the disk", writable=not drive.read_only)
    inherited.callback(os.close, fd)
    return argv.DriveWiring(fd, read_only=drive.read_only, volatile=drive.volatile)
