"""Which drivers there are.

Owns finding one, loaded only when it is needed. It is the seam at which tests put drivers of their own. Refuses to
decide whether to fall back to the host: `guards` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import VmmKind

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.vmm.driver import Driver
    from pyro_mcp.workspace.guards import Choice


class Drivers(Protocol):
    """A source of drivers."""

    def guest(self, *, require_kvm: bool) -> Choice:
        """Choose the driver and the accelerator that boot guests here.

        Raises:
            PyroError: what keeps this host from booting one.
        """
        ...

    def host(self) -> Driver:
        """Return the driver that runs commands on the host itself."""
        ...

    def of(self, kind: VmmKind) -> Driver:
        """Return the driver of machines of this kind, to take one up again."""
        ...


class InstalledDrivers:
    """The drivers that this package carries."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def guest(self, *, require_kvm: bool) -> Choice:
        """Choose the driver and the accelerator that boot guests here."""
        from pyro_mcp.model.kinds import Accelerator
        from pyro_mcp.workspace.guards import Choice

        del require_kvm
        return Choice(self.of(VmmKind.QEMU), Accelerator.TCG)

    def host(self) -> Driver:
        """Return the driver that runs commands on the host itself."""
        return self.of(VmmKind.HOST)

    def of(self, kind: VmmKind) -> Driver:
        """Return the driver of machines of this kind."""
        from pyro_mcp.vmm.qemu.driver import QemuDriver

        if kind is VmmKind.QEMU:
            return QemuDriver(self._paths.cache)
        raise PyroError(ErrorCode.UNSUPPORTED, f"this version has no driver for {kind.value}")
