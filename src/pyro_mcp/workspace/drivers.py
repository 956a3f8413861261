"""The available drivers, each loaded on first use.

Tests inject their own drivers here. `machines.selection` decides about falling back to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pyro_mcp.model.kinds import VmmKind

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.vmm.driver import Driver
    from pyro_mcp.vmm.selection import Selection


class Drivers(Protocol):
    """A source of drivers."""

    def guest(self, *, require_kvm: bool) -> Selection:
        """Choose the driver and the accelerator that boot guests here.

        Raises:
            PyroError: the reason why this host can't boot one.
        """
        ...

    def host(self) -> Driver:
        """Return the driver that runs commands on the host itself."""
        ...

    def of(self, kind: VmmKind) -> Driver:
        """Return the driver of machines of this kind, to attach to a running one."""
        ...


class InstalledDrivers:
    """The drivers of this package."""

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self._paths = paths
        self._progress = progress

    def guest(self, *, require_kvm: bool) -> Selection:
        """Choose the driver and the accelerator that boot guests here."""
        from pyro_mcp.vmm.selection import select_driver

        return select_driver(self._paths.cache, self._kernel, require_kvm=require_kvm)

    def host(self) -> Driver:
        """Return the driver that runs commands on the host itself."""
        return self.of(VmmKind.HOST)

    def of(self, kind: VmmKind) -> Driver:
        """Return the driver of machines of this kind."""
        from pyro_mcp.vmm.selection import driver_of

        return driver_of(kind, self._paths.cache)

    def _kernel(self) -> Path:
        """Return the kernel used to probe KVM, building its boot source if necessary."""
        from pyro_mcp.image.boot import ensure_boot_source

        return ensure_boot_source(self._paths, self._progress).vmlinux
