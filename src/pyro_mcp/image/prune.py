"""Remove images that are no longer needed.

Needed images are those in the catalog, the boot source of this installation, and those that a workspace or VM uses
according to the caller. Images that are being pulled are kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import Paths
from pyro_mcp.image import boot, catalog, environments
from pyro_mcp.image.in_use import keeping_others_out
from pyro_mcp.image.inputs import boot_label, kit_label
from pyro_mcp.image.names import name_of
from pyro_mcp.image.store import Shelf
from pyro_mcp.image.workshop import sweep, try_pull_lock


@dataclass(frozen=True, slots=True)
class Removed:
    """One install that was removed."""

    kind: str
    name: str
    digest: str
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The result of a prune; `skipped` are images that were being pulled, `swept` counts remains of killed pulls."""

    removed: tuple[Removed, ...]
    skipped: tuple[str, ...]
    swept: int

    @property
    def freed_bytes(self) -> int:
        """Return the amount of disk space freed."""
        return sum(removed.freed_bytes for removed in self.removed)


def prune(paths: Paths, keep: Collection[str] = ()) -> PruneResult:
    """Remove images needed neither by the catalog, this installation nor `keep` (digests of installs in use).

    Broken installs are removed unless they are in `keep`.

    Raises:
        PyroError: BUSY if the image cache can't be locked within a minute; PERMISSION and others.
    """
    # Imported here, because every start imports this package for `using_images`, and must not load the building code.
    from pyro_mcp.image import kit

    removed: list[Removed] = []
    skipped: list[str] = []
    named = {recipe.label for recipe in catalog.load_catalog().environments}
    with keeping_others_out(paths):
        for shelf, wanted in (
            (environments.shelf(paths), named),
            (boot.shelf(paths), {boot_label()}),
            (kit.shelf(paths), {kit_label()}),
        ):
            for label in shelf.labels():
                with try_pull_lock(paths, shelf.lock_name(label)) as mine:
                    if mine:
                        removed += _prune_label(shelf, label, keep, wanted=label in wanted)
                    else:
                        skipped.append(name_of(label))
        swept = sweep(paths)
    return PruneResult(tuple(removed), tuple(skipped), swept)


def _prune_label(shelf: Shelf, label: str, keep: Collection[str], *, wanted: bool) -> list[Removed]:
    keep_current = wanted and shelf.find(label) is not None
    removed: list[Removed] = []
    for directory in shelf.unneeded(label, keep, keep_current=keep_current):
        size = _disk_bytes(directory)
        fault_point("prune.before_remove")
        shelf.remove(directory)
        removed.append(Removed(shelf.kind, name_of(label), directory.name, size))
    if not keep_current and not shelf.digests(label):
        shelf.remove_label(label)
    return removed


def _disk_bytes(directory: Path) -> int:
    """Return the disk space that removing the directory frees. Files with other hard links don't count."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            found = os.lstat(os.path.join(place, name))
            if found.st_nlink == 1:
                total += found.st_blocks * 512
    return total
