"""Boot a guest: kernel file systems, modules, lanes.

Booting never waits for a device: lanes are opened as the kernel announces them.
"""

from __future__ import annotations

import os
import resource
import socket
import sys

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.console import log
from pyro_mcp.guest.lane import Lane
from pyro_mcp.guest.operations import Operations
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.loop import Loop

_MODULES = "/modules"
_VIRTIO = "/sys/bus/virtio/devices"
_PORTS = "/sys/class/virtio-ports"
# A driver is loaded only if its device is present. The numbers are from linux/virtio_ids.h.
_DEVICE_OF = {
    "virtio_net": 1,
    "virtio_blk": 2,
    "virtio_console": 3,
    "virtio_rng": 4,
    "virtio_balloon": 5,
    "vmw_vsock_virtio_transport": 19,
}
_TRANSPORTS = ("virtio_mmio", "virtio_pci")
# linux/vm_sockets.h
_GET_LOCAL_CID = 0x7B9
_HOST_CID = 2
# Soft and hard limit, as systemd sets them: a low soft limit keeps programs fast that close all possible descriptors.
_OPEN_FILES = (1024, 524288)
_NETLINK_KOBJECT_UEVENT = 15


def mount_kernel_file_systems() -> None:
    """Mount the kernel's file systems that the agent itself needs."""
    quiet = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    syscalls.mount("dev", "/dev", "devtmpfs", quiet)
    syscalls.mount("proc", "/proc", "proc", quiet | syscalls.MS_NODEV)
    syscalls.mount("sys", "/sys", "sysfs", quiet | syscalls.MS_NODEV)
    syscalls.mount("run", "/run", "tmpfs", quiet | syscalls.MS_NODEV, "mode=0700")


def protect_agent() -> None:
    """Give the agent precedence over the workload: CPU priority and file descriptors."""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES[1], _OPEN_FILES[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
    os.umask(0o022)


def limit_child() -> None:
    """In a child: give up the agent's privileges."""
    resource.setrlimit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    os.setpriority(os.PRIO_PROCESS, 0, 0)


def load_modules() -> None:
    """Load the drivers of the devices that are present, in the order given by the image."""
    try:
        with open(f"{_MODULES}/order", encoding="ascii") as file:
            order = [line.split() for line in file if line.strip()]
    except FileNotFoundError:
        return
    depends = {words[0].rstrip(":").removesuffix(".ko"): words[1:] for words in order}
    loaded: set[str] = set()

    def load(name: str) -> None:
        if name not in loaded:
            loaded.add(name)
            for other in depends.get(name, ()):
                load(other)
            _insert(name)

    for name in depends:
        if name in _TRANSPORTS:
            load(name)
    present = _virtio_devices()
    for name in depends:
        device = _DEVICE_OF.get(name)
        if device is not None and device in present:
            load(name)
    if "overlay" in depends:
        load("overlay")


def _insert(name: str) -> None:
    fd = os.open(f"{_MODULES}/{name}.ko", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.load_module(fd, _parameters(name))
    except FileExistsError:
        return
    except OSError as error:
        log(f"module {name}: {error}")
    finally:
        os.close(fd)


def _parameters(module: str) -> str:
    """Return a module's parameters from the kernel command line (`module.name=value`)."""
    with open("/proc/cmdline", encoding="ascii", errors="replace") as file:
        words = file.read().split()
    prefix = module + "."
    return " ".join(word.removeprefix(prefix) for word in words if word.startswith(prefix))


def _virtio_devices() -> set[int]:
    found: set[int] = set()
    for name in os.listdir(_VIRTIO):
        with open(f"{_VIRTIO}/{name}/device", encoding="ascii") as file:
            found.add(int(file.read(), 16))
    return found


class Lanes:
    """Opens the virtio ports that are lanes, by name, as they appear."""

    def __init__(self, loop: Loop, operations: Operations) -> None:
        self._loop = loop
        self._operations = operations
        self._open: set[str] = set()
        # Created before the drivers are loaded, so that no announcement is missed.
        self._announcements: socket.socket | None = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_KOBJECT_UEVENT
        )
        self._announcements.bind((0, 1))
        loop.add(self._announcements.fileno(), self._on_announcement)

    def open_ports(self) -> None:
        """Open all present lanes that are not open yet."""
        try:
            ports = os.listdir(_PORTS)
        except FileNotFoundError:
            return
        for port in ports:
            name = _name_of(port)
            if not name.startswith(wire.LANE_PREFIX) or port in self._open:
                continue
            try:
                fd = os.open(f"/dev/{port}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            self._open.add(port)
            Lane(fd, self._loop, self._operations, is_connection=False)

    def stop_watching(self) -> None:
        """Open all present lanes, and stop watching for more: a template's clones have the same lanes."""
        if self._announcements is not None:
            self.open_ports()
            self._loop.remove(self._announcements.fileno())
            self._announcements.close()
            self._announcements = None

    def _on_announcement(self, mask: int) -> None:
        del mask
        if self._announcements is None:
            return
        try:
            while b"virtio-ports" not in self._announcements.recv(8192):
                continue
        except OSError:
            # BlockingIOError: none was a port. ENOBUFS: announcements were lost, and may have included one.
            pass
        self.open_ports()


def _name_of(port: str) -> str:
    try:
        with open(f"{_PORTS}/{port}/name", encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except FileNotFoundError:
        # The kernel announces a port before it names it, and announces it again afterwards.
        return ""


def listen_on_vsock(loop: Loop, operations: Operations) -> bool:
    """Accept the host's connections over vsock, if there is such a device; return whether there is."""
    import fcntl

    try:
        with open("/dev/vsock", "rb") as device:
            cid = int.from_bytes(fcntl.ioctl(device, _GET_LOCAL_CID, bytes(4)), sys.byteorder)
    except OSError:
        return False
    if cid in (socket.VMADDR_CID_ANY, 0xFFFFFFFF):
        return False
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind((socket.VMADDR_CID_ANY, wire.VSOCK_PORT))
    listener.listen(wire.LANE_COUNT)

    def accept(mask: int) -> None:
        del mask
        try:
            connection, (peer, _) = listener.accept()
        except OSError:
            return
        # The workload can open vsock connections too: accept only the host's.
        if peer == _HOST_CID:
            Lane(connection.detach(), loop, operations, is_connection=True)
        else:
            connection.close()

    loop.add(listener.fileno(), accept)
    return True
