"""Build QEMU's command line.

Every device is backed by an inherited descriptor, so that the jail needs no access to host paths.

The parts that must match between a template and its clones (machine, processor, number and order of devices) may depend
only on `Hardware`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.model.limits import Shape

KERNEL = "/boot/kernel"
INITRAMFS = "/boot/initramfs"

# Sizes from 32 to 1024 MiB are equally fast. QEMU reserves all of it, but touches only what it uses.
_TRANSLATION_CACHE_MIB = 64

# `spawn=deny` also forbids exec, so no program can be run from inside QEMU, and migration must use a descriptor.
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

# The same in all machines: each has its own network, and clones must not differ from their template.
_MAC = "52:54:00:70:79:72"


class Ram(StrEnum):
    """How a guest's memory is backed by a file."""

    NONE = "none"  # anonymous memory
    WRITTEN = "on"  # shared: the file becomes a template's memory
    COPIED_ON_WRITE = "off"  # private: the file is a template's memory, which is not modified


@dataclass(frozen=True, slots=True)
class Hardware:
    """The virtual hardware, which must be the same in a template and its clones."""

    shape: Shape
    accelerator: Accelerator
    lanes: int


@dataclass(frozen=True, slots=True)
class DriveWiring:
    """One disk, by the descriptor of its file."""

    fd: int
    read_only: bool
    volatile: bool


@dataclass(frozen=True, slots=True)
class Wiring:
    """The descriptors behind the devices: listening sockets for lanes and monitor, a connected one for the network."""

    drives: tuple[DriveWiring, ...]
    lanes: tuple[int, ...]
    monitor: int
    network: int | None
    ram: int | None = None
    ram_use: Ram = Ram.NONE
    #: Whether QEMU can open a template's memory read-only (8.2 and later).
    ram_read_only: bool = False

    def descriptors(self) -> list[int]:
        """Return every descriptor that QEMU must inherit."""
        found = [drive.fd for drive in self.drives] + [*self.lanes, self.monitor]
        return found + [fd for fd in (self.network, self.ram) if fd is not None]


def arguments(hardware: Hardware, wiring: Wiring, *, firmware: str, append: str | None) -> list[str]:
    """Return QEMU's arguments. With `append`, the kernel command line, it boots; otherwise it waits for a restore."""
    shape = hardware.shape
    return [
        # rtc: gives the guest the time at boot. x-option-roms: not needed, since qboot loads the kernel itself.
        # pit: the guest does not use it but never turns it off, and it would wake QEMU 36 times a second.
        *("-M", f"microvm,rtc=on,pit=off,x-option-roms=off{',memory-backend=ram' if wiring.ram is not None else ''}"),
        *("-bios", firmware),
        *("-accel", _accelerator(hardware.accelerator)),
        *("-cpu", _processor(hardware.accelerator)),
        *("-smp", str(shape.vcpu_count), "-m", f"{shape.mem_mib}M"),
        *_memory(shape, wiring),
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        # A guest that reboots ends its VMM, and so does a panic (panic=-1 turns it into a reboot).
        "-no-reboot",
        *("-sandbox", _SANDBOX),
        # QEMU's own messages and the guest's console both go through the keeper.
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *_drives(wiring.drives),
        *_network(wiring.network),
        *_lanes(wiring.lanes),
        *(
            "-chardev",
            f"socket,id=monitor,fd={wiring.monitor},server=on,wait=off",
            "-mon",
            "chardev=monitor,mode=control",
        ),
        *(("-incoming", "defer") if append is None else ("-kernel", KERNEL, "-initrd", INITRAMFS, "-append", append)),
    ]


def revision() -> str:
    """Return a digest of the arguments that all machines share: templates made with others are incompatible."""
    import hashlib

    wiring = Wiring((DriveWiring(0, read_only=True, volatile=False),), (0,), 0, None, 0, Ram.COPIED_ON_WRITE)
    tables = [
        arguments(Hardware(Shape(), accelerator, 1), wiring, firmware="", append=None)
        for accelerator in (Accelerator.KVM, Accelerator.TCG)
    ]
    return hashlib.sha256(repr(tables).encode()).hexdigest()[:8]


def _accelerator(accelerator: Accelerator) -> str:
    if accelerator is Accelerator.KVM:
        return "kvm"
    return f"tcg,tb-size={_TRANSLATION_CACHE_MIB}"


def _processor(accelerator: Accelerator) -> str:
    if accelerator is Accelerator.KVM:
        return "host"
    # Nehalem boots faster than `max`. rdrand seeds the guest's random pool immediately. Without arat the kernel assumes
    # that its timer stops in deep sleep, and keeps a periodic tick: 5 % of a core for an idle guest.
    return "Nehalem-v1,+rdrand,+arat"


def _memory(shape: Shape, wiring: Wiring) -> list[str]:
    if wiring.ram is None:
        return []
    # QEMU reopens it through /proc: before 8.2 for writing, although with share=off it never writes to it.
    options = f"size={shape.mem_mib}M,mem-path=/proc/self/fd/{wiring.ram},share={wiring.ram_use.value}"
    if wiring.ram_read_only and wiring.ram_use is Ram.COPIED_ON_WRITE:
        options += ",readonly=on,rom=off"
    return ["-object", f"memory-backend-file,id=ram,{options}"]


def _drives(drives: tuple[DriveWiring, ...]) -> list[str]:
    found: list[str] = []
    for number, drive in enumerate(drives):
        options = {
            "driver": "file",
            "node-name": f"disk{number}",
            # A duplicate of the descriptor in this set; auto-read-only would request another access mode.
            "filename": f"/dev/fdset/{number}",
            "read-only": "on" if drive.read_only else "off",
            "auto-read-only": "off",
            # Our own locks and stamps already protect the files.
            "locking": "off",
            # All processes are on one host, so its page cache is coherent. By default, each restore would drop the
            # cached base image, for every VM, and flush the new disks.
            "drop-cache": "off",
        }
        if not drive.read_only:
            # Blocks freed by the guest's file system are freed on the host.
            options["discard"] = "unmap"
        if drive.volatile:
            options["cache.no-flush"] = "on"
        found += ["-add-fd", f"fd={drive.fd},set={number}"]
        found += ["-blockdev", ",".join(f"{key}={value}" for key, value in options.items())]
        found += ["-device", f"virtio-blk-device,drive=disk{number}"]
    return found


def _network(fd: int | None) -> list[str]:
    # Without a network the card exists but is not connected, so that one template serves both cases.
    if fd is None:
        return ["-device", f"virtio-net-device,mac={_MAC}"]
    return [
        *("-netdev", f"stream,id=network,server=off,addr.type=fd,addr.str={fd}"),
        *("-device", f"virtio-net-device,mac={_MAC},netdev=network"),
    ]


def _lanes(lanes: tuple[int, ...]) -> list[str]:
    # Port 0 is reserved for a console.
    found = ["-device", f"virtio-serial-device,max_ports={len(lanes) + 1}"]
    for number, fd in enumerate(lanes):
        found += ["-chardev", f"socket,id=lane{number},fd={fd},server=on,wait=off"]
        found += ["-device", f"virtserialport,chardev=lane{number},name=lane{number}"]
    return found
