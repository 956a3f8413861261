"""The product's enumerations and their public names: execution modes, isolation, network policies, stop reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class VmmKind(StrEnum):
    """The program that runs a guest; with `host` there is none, and commands run on the host itself."""

    QEMU = "qemu"
    FIRECRACKER = "firecracker"
    HOST = "host"


class Accelerator(StrEnum):
    """How the guest's instructions are executed."""

    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"


class ExecutionMode(StrEnum):
    """Where a command ran, and the transport to it, in results."""

    GUEST_VSOCK = "guest_vsock"
    GUEST_VIRTIO_SERIAL = "guest_virtio_serial"
    HOST_COMPAT = "host_compat"

    @classmethod
    def of(cls, kind: VmmKind) -> ExecutionMode:
        """Return the execution mode of commands with this kind of VMM."""
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
    """How a command was isolated from the host, in results."""

    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"

    @classmethod
    def of(cls, accelerator: Accelerator) -> Isolation:
        """Return the isolation that this accelerator provides."""
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
    """The networks that a guest may reach."""

    OFF = "off"
    PACKAGES = "packages"  # what its package clients are set to use, and hosts allowed by name
    ALLOW = "allow"  # only hosts allowed by name
    EGRESS = "egress"
    EGRESS_PUBLISHED_PORTS = "egress+published-ports"

    @property
    def has_network(self) -> bool:
        """Return whether the guest's network card is connected."""
        return self is not NetworkPolicy.OFF

    @property
    def takes_allowed(self) -> bool:
        """Return whether hosts can be allowed by name, since not all are."""
        return self in {NetworkPolicy.PACKAGES, NetworkPolicy.ALLOW}


class StopReason(StrEnum):
    """Why a VM stopped."""

    USER = "user"
    TTL = "ttl"
    HOST_REBOOT = "host_reboot"
    LOST = "lost"  # the guest or its VMM ended by itself: poweroff, panic, kill


class FileKind(StrEnum):
    """The kind of file at a path, without following a link."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symlink"
    OTHER = "other"


class DiffChange(StrEnum):
    """How one name changed. A change of permissions alone counts as a modification."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    TYPE_CHANGED = "type_changed"
