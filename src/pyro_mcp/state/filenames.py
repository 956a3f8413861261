"""The names of all files that belong to a VM or a workspace on this host.

Files that a driver puts into the runtime directory (sockets, locks) are named there; the directory is removed whole.
"""

from __future__ import annotations

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


class VmFiles:
    """Where one VM has its files: `directory` until it is deleted, `runtime` only while it runs.

    root.img         the sparse disk that takes the guest's writes
    workspace.img    the sparse disk of `/workspace`; a one-shot VM's stays empty
    unfinished       an empty file, there while the VM has not started yet, or if it is of one run only: it may be
                     removed
    flush            how far the guest came with its disks when its keeper was told to end (see `unclean`)
    console.log      the end of what the guest's console printed, written by the keeper at the end
    services/        the records of its services
    vm.json          the copy of its row from which it is known again if the database is lost
    """

    def __init__(self, paths: Paths, vm_id: str) -> None:
        """Name the files of a VM; an id that could lead elsewhere is refused."""
        self.vm_id = parse_vm_id(vm_id)
        self.directory = paths.vms / self.vm_id
        self.runtime = paths.runtime_vms / self.vm_id
        self.root_disk = self.directory / "root.img"
        self.workspace_disk = self.directory / "workspace.img"
        self.unfinished = self.directory / UNFINISHED
        self.flush = self.directory / "flush"
        self.console_log = self.directory / "console.log"
        self.services = self.directory / "services"
        self.record = self.directory / "vm.json"


class WorkspaceFiles:
    """Where one workspace has its files.

    workspace.json           the copy of its row from which it is known again if the database is lost
    unfinished               an empty file, there until its creation has been recorded: it may be removed
    secrets.json             its secrets, with their values, for their owner's eyes only
    baseline.img             its first `/workspace`, read-only (on the host itself: the directory `baseline`)
    snapshots/ID.img         (`snapshots/ID`)
    snapshots/ID.root.img    its root disk, if it has one
    snapshots/ID.json        which snapshot that is
    lives/N/root.img         the disks of its Nth generation, which ends with a reset
    lives/N/workspace.img    (`lives/N/workspace`)
    lives/N/life.json        which generation this is
    lives/N/unfinished       there until a reset has made all that the generation needs
    lives/N/commands/        the full output of commands whose output is long
    """

    def __init__(self, paths: Paths, workspace_id: str) -> None:
        """Name the files of a workspace; an id that could lead elsewhere is refused."""
        self.workspace_id = parse_workspace_id(workspace_id)
        self.directory = paths.workspaces / self.workspace_id
        self.record = self.directory / "workspace.json"
        self.unfinished = self.directory / UNFINISHED
        self.secrets = self.directory / "secrets.json"
        self.snapshots = self.directory / "snapshots"
        self.lives = self.directory / "lives"
        self.baseline_disk = self.directory / "baseline.img"
        self.baseline_tree = self.directory / "baseline"

    def snapshot_disk(self, snapshot_id: str) -> Path:
        """Return a snapshot's read-only disk."""
        return self.snapshots / f"{snapshot_id}.img"

    def snapshot_root(self, snapshot_id: str) -> Path:
        """Return the read-only root disk of a snapshot that has one."""
        return self.snapshots / f"{snapshot_id}.root.img"

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
