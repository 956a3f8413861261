"""The names of all files that belong to a VM or a workspace on this host.

Files that a driver puts into the runtime directory (sockets, locks) are named there; the directory is removed whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.host.paths import Paths
from pyro_mcp.model.ids import parse_vm_id, parse_workspace_id

STORE_LOCK = "store.lock"
VM_LOCKS = "vms.lock"
TEMPLATE_LOCKS = "templates.lock"
# Stands for a baseline where there is none, so that one template fits every kind of VM.
BASELINE_PLACEHOLDER = "no-baseline.img"
# The prefix of a deleted workspace's directory, and the suffix of a deleted snapshot's record: the rest is removed,
# whatever the database says.
DELETED = "deleted-"
DELETED_SUFFIX = ".deleted"
UNFINISHED = "unfinished"


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
    def unfinished(self) -> Path:
        """Return the empty file that marks a VM that has not started yet, or is of one run only: it may be removed."""
        return self.directory / UNFINISHED

    @property
    def flush(self) -> Path:
        """Say how far the guest came with its disks when its keeper was told to end (see `unclean`)."""
        return self.directory / "flush"

    @property
    def console_log(self) -> Path:
        """Return the end of what the guest's console printed, written by the keeper at the end."""
        return self.directory / "console.log"

    @property
    def services(self) -> Path:
        """Return the directory of the records of its services."""
        return self.directory / "services"

    @property
    def record(self) -> Path:
        """Return the copy of the VM's row from which it is known again if the database is lost."""
        return self.directory / "vm.json"


class WorkspaceFiles:
    """Where one workspace has its files.

    workspace.json           the copy of its row
    unfinished               there until its creation has been recorded
    secrets.json             its secrets, with their values
    baseline.img             its first `/workspace`, read-only (on the host itself: the directory `baseline`)
    snapshots/ID.img         (`snapshots/ID`)
    snapshots/ID.json        which snapshot that is
    lives/N/root.img         the disks of its Nth generation, which ends with a reset
    lives/N/workspace.img    (`lives/N/workspace`)
    lives/N/life.json        which generation this is
    lives/N/unfinished       there until a reset has made all that the generation needs
    lives/N/commands/        the full output of commands whose output is long

    Not a dataclass: every start loads this module, and making one takes longer than all the rest of it.
    """

    __slots__ = ("directory", "workspace_id")

    def __init__(self, paths: Paths, workspace_id: str) -> None:
        """Name the files of a workspace; an id that could lead elsewhere is refused."""
        self.workspace_id = parse_workspace_id(workspace_id)
        self.directory = paths.workspaces / self.workspace_id

    @property
    def record(self) -> Path:
        """Return the copy of the row from which the workspace is known again if the database is lost."""
        return self.directory / "workspace.json"

    @property
    def unfinished(self) -> Path:
        """Return the empty file that marks a workspace whose creation was never reported: it may be removed."""
        return self.directory / UNFINISHED

    @property
    def secrets(self) -> Path:
        """Return the one file that holds the values of the workspace's secrets, for its owner's eyes only."""
        return self.directory / "secrets.json"

    @property
    def snapshots(self) -> Path:
        """Return the directory of snapshots."""
        return self.directory / "snapshots"

    @property
    def lives(self) -> Path:
        """Return the directory of generations."""
        return self.directory / "lives"

    @property
    def baseline_disk(self) -> Path:
        """Return the read-only disk with `/workspace` as it was created."""
        return self.directory / "baseline.img"

    @property
    def baseline_tree(self) -> Path:
        """Return what stands for the baseline's disk on the host itself: a directory."""
        return self.directory / "baseline"

    def snapshot_disk(self, snapshot_id: str) -> Path:
        """Return a snapshot's read-only disk."""
        return self.snapshots / f"{snapshot_id}.img"

    def snapshot_tree(self, snapshot_id: str) -> Path:
        """Return what stands for a snapshot's disk on the host itself."""
        return self.snapshots / snapshot_id

    def snapshot_record(self, snapshot_id: str) -> Path:
        """Return the file that identifies a snapshot if the database is lost."""
        return self.snapshots / f"{snapshot_id}.json"

    def life_record(self, number: int) -> Path:
        """Return the file that identifies a generation if the database is lost."""
        return self.life(number) / "life.json"

    def life_unfinished(self, number: int) -> Path:
        """Return the empty file that marks a generation that was never used: it may be removed."""
        return self.life(number) / UNFINISHED

    def life(self, number: int) -> Path:
        """Return the directory of one generation."""
        return self.lives / str(number)

    def root_disk(self, life: int) -> Path:
        """Return the sparse disk that takes what the guest writes outside `/workspace`."""
        return self.life(life) / "root.img"

    def workspace_disk(self, life: int) -> Path:
        """Return the sparse disk of `/workspace`."""
        return self.life(life) / "workspace.img"

    def workspace_tree(self, life: int) -> Path:
        """Return what stands for `/workspace` on the host itself."""
        return self.life(life) / "workspace"

    def commands(self, life: int) -> Path:
        """Return the directory of whole outputs."""
        return self.life(life) / "commands"
