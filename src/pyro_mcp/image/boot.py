"""The boot source: the kernel and the initramfs that every guest boots, whatever its environment.

It contains this installation's own agent, so that host and guest use the same protocol. Every command imports this
module, so the code for building is imported only when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress
from pyro_mcp.image.inputs import boot_label
from pyro_mcp.image.names import INITRAMFS, VMLINUX
from pyro_mcp.image.store import Install, Shelf

KIND = "boot"


@dataclass(frozen=True, slots=True)
class BootSource:
    """The verified files that a guest boots."""

    digest: str
    directory: Path
    vmlinux: Path
    initramfs: Path
    kernel_release: str


def find_boot_source(paths: Paths) -> BootSource | None:
    """Return the verified boot source of this installation's agent, or None if it must be built.

    Raises:
        PyroError: PERMISSION and others if the cache can't be read.
    """
    return _source(shelf(paths).find(boot_label()))


def ensure_boot_source(paths: Paths, progress: Progress) -> BootSource:
    """Return the boot source, building it if it is missing or broken. One process builds while others wait.

    Raises:
        PyroError: if it can't be built.
    """
    source = find_boot_source(paths)
    if source is not None:
        return source
    from pyro_mcp.image.kit import ensure_kit
    from pyro_mcp.image.packing import pack_boot_source
    from pyro_mcp.image.workshop import pull_lock, sweep

    name = shelf(paths).lock_name(boot_label())
    with pull_lock(paths, name, "the packing of the boot source", progress):
        sweep(paths)
        source = find_boot_source(paths)
        if source is None:
            source = _source(pack_boot_source(shelf(paths), paths, ensure_kit(paths, progress), progress))
    assert source is not None  # noqa: S101 - publish returns an install
    return source


def shelf(paths: Paths) -> Shelf:
    """Return the shelf of boot sources."""
    return Shelf(KIND, paths.boot, paths.tmp)


def _source(install: Install | None) -> BootSource | None:
    if install is None:
        return None
    return BootSource(
        digest=install.digest,
        directory=install.directory,
        vmlinux=install.directory / VMLINUX,
        initramfs=install.directory / INITRAMFS,
        kernel_release=install.manifest.text("kernel_release"),
    )
