"""The paths of all files of a VM or a workspace on this host.

Files that a driver creates in the runtime directory (sockets, locks) are named there; the directory is removed as a
whole.
"""

from __future__ import annotations

from pathlib import Path

from pyro_mcp.host.paths import Paths
from pyro_mcp.model.ids import parse_vm_id, parse_workspace_id

STORE_LOCK = "store.lock"
VM_LOCKS = "vms.lock"
TEMPLATE_LOCKS = "templates.lock"
# The placeholder for a missing baseline, so that one template fits every kind of VM.
BASELINE_PLACEHOLDER = "no-baseline.img"
# The prefix of a deleted workspace's directory, and the suffix of a deleted snapshot's record: these are removed
# whatever the database contains.
DELETED = "deleted-"
DELETED_SUFFIX = ".deleted"
UNFINISHED = "unfinished"


class VmFiles:
    """The files of one VM: `directory` exists until it is deleted, `runtime` only while it is running.

    root.img         the sparse disk for the guest's writes
    workspace.img    the sparse disk of `/workspace`; empty for a one-shot VM
    unfinished       an empty file that exists until the VM has started, or for a single run: the VM may be removed
    flush            the progress of flushing the guest's disks when its keeper was told to end (see `unclean`)
    console.log      the end of the guest's console output, written by the keeper at the end
    ca.pem           the certificates that its guest was given
    services/        the records of its services
    network/         the rules of its network, and a FIFO to change them
    network-log/     what it tried to reach; a workspace keeps that of all its VMs
    vm.json          the copy of its row, used if the database is lost
    """

    def __init__(self, paths: Paths, vm_id: str) -> None:
        """Name the files of a VM. An invalid id is refused, since it could lead elsewhere."""
        self.vm_id = parse_vm_id(vm_id)
        self.directory = paths.vms / self.vm_id
        self.runtime = paths.runtime_vms / self.vm_id
        self.root_disk = self.directory / "root.img"
        self.workspace_disk = self.directory / "workspace.img"
        self.unfinished = self.directory / UNFINISHED
        self.flush = self.directory / "flush"
        self.console_log = self.directory / "console.log"
        self.certificates = self.directory / "ca.pem"
        self.services = self.directory / "services"
        self.network = self.directory / "network"
        self.network_log = self.directory / "network-log"
        self.record = self.directory / "vm.json"


class WorkspaceFiles:
    """The files of one workspace.

    workspace.json           the copy of its row, used if the database is lost
    unfinished               an empty file that exists until its creation is recorded: the workspace may be removed
    network-log/             what its guests tried to reach
    secrets.json             its secrets with their values, readable only by their owner
    ca.pem                   the certificates that its guest is given
    baseline.img             its initial `/workspace`, read-only (with host compat: the directory `baseline`)
    snapshots/ID.img         (`snapshots/ID`)
    snapshots/ID.root.img    its root disk, if it has one
    snapshots/ID.json        the record that identifies the snapshot
    lives/N/root.img         the disks of its Nth generation, which ends with a reset
    lives/N/workspace.img    (`lives/N/workspace`)
    lives/N/life.json        the record that identifies the generation
    lives/N/unfinished       exists until a reset has created everything that the generation needs
    lives/N/commands/        the full output of commands with long output
    """

    def __init__(self, paths: Paths, workspace_id: str) -> None:
        """Name the files of a workspace. An invalid id is refused, since it could lead elsewhere."""
        self.workspace_id = parse_workspace_id(workspace_id)
        self.directory = paths.workspaces / self.workspace_id
        self.record = self.directory / "workspace.json"
        self.unfinished = self.directory / UNFINISHED
        self.secrets = self.directory / "secrets.json"
        self.network_log = self.directory / "network-log"
        self.certificates = self.directory / "ca.pem"
        self.snapshots = self.directory / "snapshots"
        self.lives = self.directory / "lives"
        self.baseline_disk = self.directory / "baseline.img"
        self.baseline_tree = self.directory / "baseline"

    def snapshot_disk(self, snapshot_id: str) -> Path:
        """Return a snapshot's read-only disk."""
        return self.snapshots / f"{snapshot_id}.img"

    def snapshot_root(self, snapshot_id: str) -> Path:
        """Return a snapshot's read-only root disk, if it has one."""
        return self.snapshots / f"{snapshot_id}.root.img"

    def snapshot_tree(self, snapshot_id: str) -> Path:
        """Return the directory that replaces a snapshot's disk with host compat."""
        return self.snapshots / snapshot_id

    def snapshot_record(self, snapshot_id: str) -> Path:
        """Return the file that identifies a snapshot if the database is lost."""
        return self.snapshots / f"{snapshot_id}.json"

    def life_record(self, number: int) -> Path:
        """Return the file that identifies a generation if the database is lost."""
        return self.life(number) / "life.json"

    def life_unfinished(self, number: int) -> Path:
        """Return the empty file that marks a generation that was never used and may be removed."""
        return self.life(number) / UNFINISHED

    def life(self, number: int) -> Path:
        """Return the directory of one generation."""
        return self.lives / str(number)

    def root_disk(self, life: int) -> Path:
        """Return the sparse disk for the guest's writes outside `/workspace`."""
        return self.life(life) / "root.img"

    def workspace_disk(self, life: int) -> Path:
        """Return the sparse disk of `/workspace`."""
        return self.life(life) / "workspace.img"

    def workspace_tree(self, life: int) -> Path:
        """Return the directory that replaces the workspace disk with host compat."""
        return self.life(life) / "workspace"

    def commands(self, life: int) -> Path:
        """Return the directory of full command outputs."""
        return self.life(life) / "commands"
