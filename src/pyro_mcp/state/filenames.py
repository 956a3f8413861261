"""The name of every file that belongs to a VM on this host.

Owns the layout of a VM's two directories. Refuses to open anything. What a driver puts into the runtime directory
(sockets, locks) has names of the driver's own; the directory goes as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.model.ids import parse_vm_id

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

STORE_LOCK = "store.lock"
VM_LOCKS = "vms.lock"
TEMPLATE_LOCKS = "templates.lock"
# Stands for a baseline where there is none, so that one template fits every kind of VM.
BASELINE_PLACEHOLDER = "no-baseline.img"


@dataclass(frozen=True, slots=True)
class VmFiles:
    """Where one VM has its files: `directory` until it is deleted, `runtime` only while it runs."""

    vm_id: str
    directory: Path
    runtime: Path

    @classmethod
    def of(cls, paths: Paths, vm_id: str) -> VmFiles:
        """Name the files of a VM; an id that could lead elsewhere is refused."""
        checked = parse_vm_id(vm_id)
        return cls(checked, paths.vms / checked, paths.runtime_vms / checked)

    @property
    def root_disk(self) -> Path:
        """Return the sparse disk that takes the guest's writes."""
        return self.directory / "root.img"

    @property
    def workspace_disk(self) -> Path:
        """Return the sparse disk of `/workspace`; a one-shot VM's stays empty."""
        return self.directory / "workspace.img"

    @property
    def console_log(self) -> Path:
        """Return the end of what the guest's console printed, written by the keeper at the end."""
        return self.directory / "console.log"

    @property
    def record(self) -> Path:
        """Return the copy of the VM's row from which it is known again if the database is lost."""
        return self.directory / "vm.json"
