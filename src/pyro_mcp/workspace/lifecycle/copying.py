"""Copy disks, or the directory that replaces one, in a thread while their machine starts.

An incomplete copy is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.workspace.machines.disks import BackgroundWork, copy_into, make_sparse, sync_disk


class Copying(BackgroundWork):
    """Copies in progress, from source to target. A context manager; the VMM may open the targets inside the block."""

    def __init__(self, copies: Mapping[Path, Path], *, are_disks: bool) -> None:
        super().__init__(self._copy)
        self._are_disks = are_disks
        self._copies = copies

    def __enter__(self) -> Self:
        for target in self._copies.values():
            if self._are_disks:
                make_sparse(target, ROOT_DISK_BYTES)
            else:
                ensure_private_dir(target)
        return super().__enter__()

    def _copy(self) -> None:
        for source, target in self._copies.items():
            if self._are_disks:
                copy_into(source, target)
                fault_point("ws_copying.copied")
                # Sync while the machine still starts: otherwise the guest's first flush would wait for it.
                sync_disk(target)
            else:
                from pyro_mcp.workspace.lifecycle.host_tree import copy_tree, sync_tree

                copy_tree(source, target)
                sync_tree(target)
