"""Copy a disk, or the directory that stands for one, in a thread while its machine starts.

Half a copy is never handed out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.workspace.machines.disks import BackgroundWork, copy_into, make_sparse, sync_disk


class Copying(BackgroundWork):
    """A copy under way. A context manager; the VMM may open the copy when the block begins."""

    def __init__(self, source: Path, target: Path, *, is_disk: bool) -> None:
        super().__init__(self._copy)
        self._is_disk = is_disk
        self._source = source
        self._target = target

    def __enter__(self) -> Self:
        if self._is_disk:
            make_sparse(self._target, ROOT_DISK_BYTES)
        else:
            ensure_private_dir(self._target)
        return super().__enter__()

    def _copy(self) -> None:
        if self._is_disk:
            copy_into(self._source, self._target)
            fault_point("ws_copying.copied")
            # Now, while the machine is still being brought up: the guest's first flush would wait for it.
            sync_disk(self._target)
        else:
            from pyro_mcp.workspace.lifecycle.host_tree import copy_tree, sync_tree

            copy_tree(self._source, self._target)
            sync_tree(self._target)
