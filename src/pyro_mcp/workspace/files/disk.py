"""The disks of a stopped workspace: read files anywhere on them, or export them as one image.

The host never parses a disk that a guest has written: a separate guest does (`lifecycle.inspection`), and its replies
are checked. An image is published complete or not at all.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.agent import CancelToken
from pyro_mcp.errors import os_errors
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.workspace import ReviewEvent, ReviewKind, Workspace
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import note_activity
from pyro_mcp.trees.seed import seed_disk
from pyro_mcp.trees.staging import RESULT, staged_beside
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.access import MAX_ENTRIES, MAX_FILE_BYTES, Listed, ReadText, part_of
from pyro_mcp.workspace.files.paths import path_below, path_shown
from pyro_mcp.workspace.lifecycle.inspection import looking_into, stopped_workspace
from pyro_mcp.workspace.lifecycle.lost_disks import RESCUE_HINT
from pyro_mcp.workspace.machines.disks import require_space, sync_disk

ROOT = "/"
_MIB = 1024 * 1024
# The image is sparse, so its size costs nothing. It has one inode per 16 KiB, and a file takes at least one block of
# 4 KiB, or almost nothing.
_SIZE_TO_NEED = 4
_ROOM_BYTES = 1024 * _MIB
_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class ExportedDisk:
    """A sparse image: `size_bytes` is its length, `used_bytes` what its file system holds."""

    workspace_id: str
    output_path: Path
    size_bytes: int
    used_bytes: int


def list_disk(engine: Engine, handle: str, path: str, *, recursive: bool, cancel: CancelToken | None = None) -> Listed:
    """List a directory anywhere in a stopped workspace, recursively if asked.

    Raises:
        PyroError: NOT_FOUND, INVALID; CONFLICT if it is not stopped; UNSUPPORTED if it has no disk.
    """
    name = path_below(posixpath.join(WORKSPACE, path), root=ROOT)
    with (
        stopped_workspace(engine, handle) as workspace,
        looking_into(engine, workspace, cancel=cancel) as files,
    ):
        listing = files.list(name, recursive=recursive, limit=MAX_ENTRIES)
    return Listed(workspace.id, path_shown(name, root=ROOT), listing)


def read_disk(engine: Engine, handle: str, path: str, *, max_bytes: int, cancel: CancelToken | None = None) -> ReadText:
    """Read the beginning of a text file anywhere in a stopped workspace.

    Raises:
        PyroError: NOT_FOUND; INVALID if it is not a file or not UTF-8 text; CONFLICT if the workspace is not stopped;
            UNSUPPORTED if it has no disk.
    """
    name = path_below(posixpath.join(WORKSPACE, path), root=ROOT)
    with (
        stopped_workspace(engine, handle) as workspace,
        looking_into(engine, workspace, cancel=cancel) as files,
    ):
        content = files.read(name, max_bytes=min(max_bytes, MAX_FILE_BYTES))
    shown = path_shown(name, root=ROOT)
    return part_of(workspace.id, shown, content.data, 0, content.size_bytes, content.mode)


def export_disk(engine: Engine, handle: str, output: Path, *, cancel: CancelToken | None = None) -> ExportedDisk:
    """Write one ext4 image of the whole root of a stopped workspace, `/workspace` included, to the new file `output`.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is not stopped or `output` already exists; UNSUPPORTED if it has no disk;
            NO_SPACE, PERMISSION. Nothing is left behind.
    """
    output = Path(os.path.abspath(output))
    with (
        stopped_workspace(engine, handle) as workspace,
        staged_beside(output, notes=engine.paths.exports) as staging,
    ):
        engine.progress.phase("export", f"workspace_id={workspace.id}")
        image = Path(f"/proc/self/fd/{staging.fd}") / os.fsdecode(RESULT)
        need_bytes = _need_of(engine, workspace)
        require_space(output.parent, need_bytes)
        used_bytes = _exported(engine, workspace, image, _SIZE_TO_NEED * need_bytes + _ROOM_BYTES, cancel)
        sync_disk(image)
        size_bytes = os.stat(image).st_size
        fault_point("ws_disk.exported")
        with os_errors(f"write {output}"):
            staging.publish()
    summary: dict[str, object] = {"disk": True, "output_path": str(output), "used_bytes": used_bytes}
    note_activity(engine.store, engine.clock, workspace.id, event=ReviewEvent(ReviewKind.EXPORT, summary))
    return ExportedDisk(workspace.id, output, size_bytes, used_bytes)


def _exported(engine: Engine, workspace: Workspace, image: Path, size_bytes: int, cancel: CancelToken | None) -> int:
    seed_disk(None, image, -(-size_bytes // _MIB) * _MIB, engine.progress)
    with looking_into(engine, workspace, output=image, cancel=cancel) as files:
        return files.export_root()


def _need_of(engine: Engine, workspace: Workspace) -> int:
    """Return the space that the root's parts take on the host, with a margin."""
    files = WorkspaceFiles(engine.paths, workspace.id)
    parts = [files.root_disk(workspace.life), files.workspace_disk(workspace.life)]
    if workspace.base is not None:
        parts.append(Path(workspace.base.path))
    with os_errors(f"read the disks of {workspace.title}", hint=RESCUE_HINT):
        blocks = sum(os.stat(part).st_blocks for part in parts)
    return blocks * _BLOCK_BYTES * 5 // 4
