"""Records next to the disks, which identify VMs, workspaces, generations and snapshots if the database is lost.

A row in the database takes precedence. Each record contains a checksum, so that any damage is detected.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pyro_mcp.errors import PyroError, os_errors
from pyro_mcp.host.durable import atomic_write
from pyro_mcp.host.files import closing_fd, open_plain, write_at
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.ids import is_snapshot_id
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Snapshot, Workspace
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.state.records import to_row, vm_from_row, workspace_from_row

_MAX_BYTES = 4 * 1024 * 1024
_CHECKSUM = "checksum"


def write_copy(files: VmFiles, vm: Vm) -> None:
    """Write the copy of a VM's row. It is not synced: after a crash of the host no VM is running anyway.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    staged = files.record.with_suffix(".new")
    with os_errors(f"write {files.record}"):
        with closing_fd(
            os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        ) as fd:
            write_at(fd, memoryview(_sealed(to_row(vm))), 0)
        os.rename(staged, files.record)


def read_copy(files: VmFiles) -> Vm | None:
    """Return the copy of a VM's row, or None if it is missing, damaged or another VM's."""
    row = _read(files.record)
    try:
        vm = None if row is None else vm_from_row(row)
    except PyroError:
        return None
    return vm if vm is not None and vm.id == files.vm_id else None


def write_workspace_copy(files: WorkspaceFiles, workspace: Workspace, snapshots: Sequence[Snapshot] = ()) -> None:
    """Write the copy of a workspace's row, durably.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    atomic_write(files.record, _sealed({**to_row(workspace), "snapshots": to_json(tuple(snapshots))}))


def read_workspace_copy(files: WorkspaceFiles) -> tuple[Workspace, list[Snapshot]] | None:
    """Return the copy of a workspace's row, or None if it is missing, damaged or another workspace's."""
    record = _read(files.record)
    try:
        if record is None:
            return None
        workspace = workspace_from_row(record)
        snapshots = [from_json(Snapshot, each) for each in cast("list[object]", record.get("snapshots", []))]
    except (TypeError, PyroError):
        return None
    if workspace.id != files.workspace_id or not all(is_snapshot_id(each.id) for each in snapshots):
        return None
    return workspace, snapshots


def write_life_record(files: WorkspaceFiles, life: int, snapshot: str, made_at: float) -> None:
    """Durably write the record of a generation: its workspace, number and origin.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    document = {"workspace_id": files.workspace_id, "life": life, "snapshot": snapshot, "made_at": made_at}
    atomic_write(files.life_record(life), _sealed(document))


def is_whole_life(files: WorkspaceFiles, life: int) -> bool:
    """Return whether the directory of a generation has an intact record."""
    record = _read(files.life_record(life))
    return record is not None and (record.get("workspace_id"), record.get("life")) == (files.workspace_id, life)


def write_snapshot_record(files: WorkspaceFiles, snapshot: Snapshot) -> None:
    """Write the record of a snapshot. It is durable once the caller has synced the directory.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    document = {"workspace_id": files.workspace_id, **to_json(snapshot)}
    atomic_write(files.snapshot_record(snapshot.id), _sealed(document), syncs_directory=False)


def read_snapshot_record(files: WorkspaceFiles, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot from its own record, or None if that is missing, damaged or another snapshot's."""
    record = _read(files.snapshot_record(snapshot_id))
    try:
        snapshot = from_json(Snapshot, record)
    except PyroError:
        return None
    is_ours = record is not None and record.get("workspace_id") == files.workspace_id
    return snapshot if is_ours and snapshot.id == snapshot_id else None


def _sealed(document: Mapping[str, object]) -> bytes:
    return json.dumps({**document, _CHECKSUM: _checksum(document)}).encode()


def _checksum(document: Mapping[str, object]) -> int:
    return crc32(json.dumps(document, sort_keys=True).encode())


def _read(path: Path) -> dict[str, object] | None:
    """Return an intact record, or None. Earlier versions wrote no checksum."""
    try:
        fd = open_plain(path)
        with open(fd, "rb") as file:
            found: object = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    record = cast("dict[str, object]", found)
    checksum = record.pop(_CHECKSUM, None)
    return record if checksum is None or checksum == _checksum(record) else None
