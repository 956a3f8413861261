"""Removing images that nothing needs any more.

Needed images are those that the catalog names, that this installation boots, and that the caller says a workspace or VM
uses. Images being pulled stay.
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
    """The result of a prune; `skipped` names images that were being pulled, `swept` counts remains of killed pulls."""

    removed: tuple[Removed, ...]
    skipped: tuple[str, ...]
    swept: int

    @property
    def freed_bytes(self) -> int:
        """Return how much disk space that gave back."""
        return sum(removed.freed_bytes for removed in self.removed)


def prune(paths: Paths, keep: Collection[str] = ()) -> PruneResult:
    """Remove what neither the catalog, this installation nor `keep` (digests of installs in use) needs.

    An install that is broken is needed by nobody, unless `keep` names it.

    Raises:
        PyroError: BUSY if images are in use all the time for a minute; PERMISSION and others.
    """
    # Building code is not loaded by callers that only hold images in place (`using_images`), as every start does.
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
    """Return what removing the directory gives back; a file that another name keeps alive gives back nothing."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            found = os.lstat(os.path.join(place, name))
            if found.st_nlink == 1:
                total += found.st_blocks * 512
    return total
