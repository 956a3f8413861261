"""The product's closed sets and their public names: execution modes, isolation, network policies, stop reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class VmmKind(StrEnum):
    """Name the program that runs a guest; `host` is none: the command runs on the host itself."""

    QEMU = "qemu"
    FIRECRACKER = "firecracker"
    HOST = "host"


class Accelerator(StrEnum):
    """Name what executes the guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"


class ExecutionMode(StrEnum):
    """Say in a result where a command ran and how the host spoke to it."""

    GUEST_VSOCK = "guest_vsock"
    GUEST_VIRTIO_SERIAL = "guest_virtio_serial"
    HOST_COMPAT = "host_compat"

    @classmethod
    def of(cls, kind: VmmKind) -> ExecutionMode:
        """Return the execution mode of everything that this kind of VMM runs."""
        match kind:
            case VmmKind.QEMU:
                return cls.GUEST_VIRTIO_SERIAL
            case VmmKind.FIRECRACKER:
                return cls.GUEST_VSOCK
            case VmmKind.HOST:
                return cls.HOST_COMPAT
            case _:
                assert_never(kind)


class Isolation(StrEnum):
    """Say in a result what stood between a command and the host."""

    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"

    @classmethod
    def of(cls, accelerator: Accelerator) -> Isolation:
        """Return the isolation that comes with this accelerator."""
        match accelerator:
            case Accelerator.KVM:
                return cls.KVM
            case Accelerator.TCG:
                return cls.TCG
            case Accelerator.NONE:
                return cls.NONE
            case _:
                assert_never(accelerator)


class NetworkPolicy(StrEnum):
    """Say what a guest may reach."""

    OFF = "off"
    EGRESS = "egress"
    EGRESS_PUBLISHED_PORTS = "egress+published-ports"

    @property
    def has_network(self) -> bool:
        """Say whether the guest's network card leads anywhere."""
        return self is not NetworkPolicy.OFF


class StopReason(StrEnum):
    """Say why a VM stopped."""

    USER = "user"
    TTL = "ttl"
    HOST_REBOOT = "host_reboot"
    LOST = "lost"  # the guest or its VMM ended by itself: poweroff, panic, kill


class FileKind(StrEnum):
    """Say what stands at a path, without following a link."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symlink"
    OTHER = "other"


class DiffChange(StrEnum):
    """Say what became of one name. Other permissions alone count as a modification."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    TYPE_CHANGED = "type_changed"
