"""Start a workspace although a disk other than that of `/workspace` is lost or damaged.

The root disk holds software installed outside `/workspace`: it is replaced by a new one, and a damaged one is kept in
quarantine. The baseline is needed only for comparison: it is replaced by an empty disk.
"""

from __future__ import annotations

from pathlib import Path

from pyro_mcp.agent import Flavour
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.quarantine import quarantine
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.disks import has_size

RESCUE_HINT = (
    "`pyro workspace start` replaces a root disk that is lost or damaged, and `pyro workspace export` then copies"
    " /workspace out."
)


def usable_baseline(files: WorkspaceFiles) -> Path | None:
    """Return the baseline's disk, or None if it is lost."""
    return files.baseline_disk if has_size(files.baseline_disk, ROOT_DISK_BYTES) else None


def has_lost_root(engine: Engine, workspace: Workspace) -> bool:
    """Return whether the root disk of a workspace is missing or truncated."""
    disk = WorkspaceFiles(engine.paths, workspace.id).root_disk(workspace.life)
    return not workspace.is_host_compat and not has_size(disk, ROOT_DISK_BYTES)


def is_root_damaged(error: PyroError) -> bool:
    """Return whether a start failed because the guest could not mount the root disk."""
    return error.code is ErrorCode.UNAVAILABLE and " on /mnt/root:" in error.message


def give_up_root(engine: Engine, workspace: Workspace) -> str:
    """Move the root disk of a workspace to quarantine, and return a message for the user.

    Raises:
        PyroError: PERMISSION and others.
    """
    disk = WorkspaceFiles(engine.paths, workspace.id).root_disk(workspace.life)
    aside = quarantine(engine.paths, disk, f"{workspace.id}-root.img")
    damaged = "was lost" if aside is None else f"was damaged and moved to {aside}"
    text = f"the root disk of {workspace.title} {damaged}: software installed outside /workspace is not in the new one"
    engine.notice(text)
    return text


def flavour_of(*, is_root_new: bool) -> Flavour:
    """Return how the guest of a starting workspace gets its root disk."""
    return Flavour.FRESH if is_root_new else Flavour.ATTACH
