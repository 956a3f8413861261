"""The copy of a record in its VM's or workspace's directory, which identifies it if the database is lost.

While the database has the row, the row is the truth. A workspace's directory whose copy can't be read is set aside, not
removed: a user's work is in it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from pyro_mcp.errors import PyroError, from_os_error
from pyro_mcp.model.ids import is_snapshot_id
from pyro_mcp.model.workspace import Snapshot
from pyro_mcp.state.records import vm_from_row, vm_to_row, workspace_from_row, workspace_to_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles

_MAX_BYTES = 256 * 1024


def write_copy(files: VmFiles, vm: Vm) -> None:
    """Write the copy. It is not synced: after a crash of the machine no VM runs anyway.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    staged = files.record.with_suffix(".new")
    try:
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, json.dumps(vm_to_row(vm)).encode())
        finally:
            os.close(fd)
        os.rename(staged, files.record)
    except OSError as error:
        raise from_os_error(error, f"write {files.record}") from error


def read_copy(files: VmFiles) -> Vm | None:
    """Return what the copy says, or None if there is none or it is damaged or another VM's."""
    try:
        fd = os.open(files.record, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            row: object = json.loads(file.read(_MAX_BYTES))
        vm = vm_from_row(cast("Mapping[str, object]", row)) if isinstance(row, dict) else None
    except (OSError, ValueError, RecursionError, PyroError):
        return None
    return vm if vm is not None and vm.id == files.vm_id else None


_MAX_WORKSPACE_BYTES = 4 * 1024 * 1024


def write_workspace_copy(files: WorkspaceFiles, workspace: Workspace, snapshots: Sequence[Snapshot] = ()) -> None:
    """Write the copy. It is not synced: the database is what survives a crash of the machine.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    listed = [[each.name, each.id, each.created_at, each.size_bytes] for each in snapshots]
    staged = files.record.with_suffix(".new")
    try:
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            rest = memoryview(json.dumps({**workspace_to_row(workspace), "snapshots": listed}).encode())
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)
        os.rename(staged, files.record)
    except OSError as error:
        raise from_os_error(error, f"write {files.record}") from error


def read_workspace_copy(files: WorkspaceFiles) -> tuple[Workspace, list[Snapshot]] | None:
    """Return what the copy says, or None if there is none or it is damaged or another workspace's."""
    try:
        fd = os.open(files.record, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            row: object = json.loads(file.read(_MAX_WORKSPACE_BYTES))
        if not isinstance(row, dict):
            return None
        record = cast("dict[str, object]", row)
        workspace = workspace_from_row(record)
        snapshots = _snapshots(record.get("snapshots", []))
    except (OSError, ValueError, RecursionError, PyroError):
        return None
    return (workspace, snapshots) if workspace.id == files.workspace_id else None


def set_aside(paths: Paths, files: WorkspaceFiles) -> Path | None:
    """Move a directory that nothing is known of out of the way, and return where it is now; None if it is not there.

    Raises:
        PyroError: PERMISSION and others.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = paths.workspaces / f"unusable-{stamp}-{files.workspace_id}"
    try:
        os.rename(files.directory, aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, f"set {files.directory} aside") from error
    with suppress(OSError):
        os.chmod(aside, 0o700)
    return aside


def _snapshots(value: object) -> list[Snapshot]:
    found: list[Snapshot] = []
    for each in cast("Sequence[object]", value if isinstance(value, list) else ()):
        match each:
            case [str(name), str(snapshot_id), float() | int() as created_at, int(size_bytes)] if is_snapshot_id(
                snapshot_id
            ):
                found.append(Snapshot(name, snapshot_id, float(created_at), size_bytes))
            case _:
                raise ValueError("a snapshot's record is damaged")
    return found
