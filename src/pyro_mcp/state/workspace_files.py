"""Keep a workspace's record and its directory consistent: generations and snapshots.

Only files that are superseded, or marked as unfinished or deleted, are removed. A generation or snapshot that is not in
the database is adopted if its own record is intact, and otherwise moved to quarantine. The caller holds the workspace's
lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_mcp.errors import from_os_error, os_errors
from pyro_mcp.host.durable import fsync_dir, remove_tree
from pyro_mcp.host.paths import Paths, ensure_private_dir
from pyro_mcp.model.ids import is_snapshot_id
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import BASELINE, Snapshot, Workspace
from pyro_mcp.state.copies import is_whole_life, read_snapshot_record, write_life_record, write_workspace_copy
from pyro_mcp.state.disk_removal import remove_disks
from pyro_mcp.state.filenames import DELETED_SUFFIX, WorkspaceFiles
from pyro_mcp.state.quarantine import quarantine
from pyro_mcp.state.store import Store
from pyro_mcp.state.workspaces import forget_records, insert_snapshot, remove_snapshot

# The maximum length of a name, with room for a number.
_NAME_CHARS = 50


def sweep_workspace(
    store: Store, paths: Paths, workspace: Workspace, notice: Callable[[str], None], *, can_adopt: bool = False
) -> Workspace:
    """Clean up the files of a workspace, whose VMs may use only its current generation; return its record.

    With `can_adopt` the workspace must not be running, and a newer generation that is not in the database may become
    the current one.

    Raises:
        PyroError: PERMISSION and others.
    """
    sweep = _Sweep(store, paths, WorkspaceFiles(paths, workspace.id), workspace, notice)
    sweep.snapshots()
    for path in _entries(sweep.files.directory):
        if path.name.endswith(".new"):
            remove_tree(path)
    return sweep.lives(can_adopt=can_adopt)


def begin_workspace(paths: Paths, files: WorkspaceFiles, life: int) -> None:
    """Create the directories of a workspace, marked as unfinished.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    ensure_private_dir(paths.workspaces)
    ensure_private_dir(files.directory)
    _touch(files.unfinished)
    for directory in (files.lives, files.life(life), files.snapshots):
        ensure_private_dir(directory)


def sync_workspace(paths: Paths, files: WorkspaceFiles, life: int, made_at: float) -> None:
    """Write the files of a new workspace, except its disks, durably. This takes a while, but needs no guest.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    write_life_record(files, life, BASELINE, made_at)
    with os_errors(f"make {files.directory}"):
        for directory in (files.lives, files.snapshots, paths.workspaces, paths.state):
            fsync_dir(directory)


def finish_workspace(files: WorkspaceFiles, workspace: Workspace) -> None:
    """Durably make a new, synced workspace identifiable without the database.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    with os_errors(f"make {files.directory}"):
        # A crash between the two leaves a directory that is moved to quarantine rather than removed.
        os.unlink(files.unfinished)
        write_workspace_copy(files, workspace)


def begin_life(files: WorkspaceFiles, life: int) -> None:
    """Create the directory of a new generation, marked as unfinished, replacing remains of an interrupted reset.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    remove_tree(files.life(life))
    ensure_private_dir(files.life(life))
    _touch(files.life_unfinished(life))


def finish_life(files: WorkspaceFiles, life: int, snapshot: str, made_at: float) -> None:
    """Durably make a new generation, whose disks are synced, identifiable without the database.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    with os_errors(f"make {files.life(life)}"):
        os.unlink(files.life_unfinished(life))
        write_life_record(files, life, snapshot, made_at)
        fsync_dir(files.lives)


def hide_snapshot(files: WorkspaceFiles, snapshot_id: str) -> None:
    """Durably mark a snapshot as deleted.

    Raises:
        PyroError: PERMISSION and others.
    """
    record = files.snapshot_record(snapshot_id)
    mark = _mark(files, snapshot_id)
    with os_errors(f"delete the snapshot {snapshot_id}"):
        try:
            os.rename(record, mark)
        except FileNotFoundError:
            # The snapshot was created by an earlier version.
            _touch(mark)
        fsync_dir(files.snapshots)


def remove_snapshot_files(files: WorkspaceFiles, snapshot_id: str) -> None:
    """Remove all files of a snapshot, and finally the mark that it is deleted.

    Raises:
        PyroError: PERMISSION and others.
    """
    remove_disks(files.snapshot_disk(snapshot_id))
    remove_disks(files.snapshot_root(snapshot_id))
    remove_tree(files.snapshot_tree(snapshot_id))
    remove_tree(files.snapshot_record(snapshot_id))
    remove_tree(_mark(files, snapshot_id))


def snapshots_on_disk(files: WorkspaceFiles, listed: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the snapshots of a workspace whose row was lost: those with their own record, or that are `listed`."""
    names = {path.name for path in _entries(files.snapshots)}
    earlier = {each.id: each for each in listed}
    found: dict[str, Snapshot] = {}
    for snapshot_id in _snapshot_ids(names):
        snapshot = read_snapshot_record(files, snapshot_id) or earlier.get(snapshot_id)
        has_disk = snapshot_id in names or f"{snapshot_id}.img" in names
        if snapshot is not None and has_disk and f"{snapshot_id}{DELETED_SUFFIX}" not in names:
            # The sweep renames a snapshot whose name is already taken.
            found.setdefault(snapshot.name, snapshot)
    return list(found.values())


def has_unknown_snapshots(files: WorkspaceFiles, known: Iterable[Snapshot]) -> bool:
    """Return whether a snapshot on the disk is not among those `known` to the database."""
    names = {path.name for path in _entries(files.snapshots)}
    ids = {each.id for each in known}
    return any(f"{each}.img" in names or each in names for each in _snapshot_ids(names) if each not in ids)


@dataclass(frozen=True, slots=True)
class _Sweep:
    store: Store
    paths: Paths
    files: WorkspaceFiles
    workspace: Workspace
    notice: Callable[[str], None]

    def lives(self, *, can_adopt: bool) -> Workspace:
        current = self.workspace.life
        newer: list[int] = []
        for path in _entries(self.files.lives):
            life = int(path.name) if path.name.isdecimal() else None
            if life == current:
                continue
            if life is not None and (life < current or self._is_abandoned(life)):
                remove_disks(path)
            elif life is not None and is_whole_life(self.files, life):
                newer.append(life)
            else:
                self._set_aside(path, f"life-{path.name[:_NAME_CHARS]}", "can't be identified")
        if not newer or not can_adopt:
            return self.workspace
        return self._adopt(max(newer))

    def _is_abandoned(self, life: int) -> bool:
        """Return whether a generation that is not in the database is a remnant of an unfinished reset."""
        if os.path.lexists(self.files.life_unfinished(life)):
            return True
        # The reset is recorded and has not ended; the previous generation is removed only after its end.
        return self.workspace.state is WorkspaceState.RESETTING and self.files.life(self.workspace.life).exists()

    def _adopt(self, life: int) -> Workspace:
        def adopted(now: Workspace) -> Workspace:
            return replace(now, life=life, reset_count=now.reset_count + 1, command_count=0)

        after = self.store.workspaces.update(
            self.workspace.id,
            adopted,
            also=lambda connection: forget_records(connection, self.workspace.id),
            durable=True,
        )
        self.notice(f"a reset of the workspace {self.workspace.title} was unknown to the state database: it is kept")
        remove_disks(self.files.life(self.workspace.life))
        return after

    def snapshots(self) -> None:
        known = {each.id: each for each in self.store.workspaces.snapshots(self.workspace.id)}
        names = {path.name for path in _entries(self.files.snapshots)}
        for name in names:
            if name.endswith(".new"):
                remove_tree(self.files.snapshots / name)
        for snapshot_id in _snapshot_ids(names):
            if f"{snapshot_id}{DELETED_SUFFIX}" in names:
                self._finish_deletion(snapshot_id, known)
            elif snapshot_id not in known:
                self._unknown(snapshot_id, names)

    def _finish_deletion(self, snapshot_id: str, known: dict[str, Snapshot]) -> None:
        if snapshot_id in known:
            self.store.database.write(
                lambda connection: remove_snapshot(connection, self.workspace.id, known[snapshot_id].name),
                durable=True,
            )
        remove_snapshot_files(self.files, snapshot_id)

    def _unknown(self, snapshot_id: str, names: set[str]) -> None:
        disk = next((name for name in (f"{snapshot_id}.img", snapshot_id) if name in names), None)
        snapshot = read_snapshot_record(self.files, snapshot_id)
        if disk is None:
            # A record without a disk: records are written first, so the snapshot was never completed.
            remove_snapshot_files(self.files, snapshot_id)
        elif snapshot is None:
            for path in (self.files.snapshots / disk, self.files.snapshot_root(snapshot_id)):
                self._set_aside(path, snapshot_id, "can't be identified")
            remove_tree(self.files.snapshot_record(snapshot_id))
        else:
            name = self._adopt_snapshot(snapshot)
            self.notice(
                f"the snapshot {name} of the workspace {self.workspace.title} was unknown to the state database:"
                " it is kept"
            )

    def _adopt_snapshot(self, snapshot: Snapshot) -> str:
        taken = {each.name for each in self.store.workspaces.snapshots(self.workspace.id)}
        names = [snapshot.name, *(f"{snapshot.name[:_NAME_CHARS]}-{number}" for number in range(2, len(taken) + 3))]
        name = next(each for each in names if each not in taken)

        def insert(connection: sqlite3.Connection) -> None:
            insert_snapshot(connection, self.workspace.id, replace(snapshot, name=name))

        self.store.database.write(insert, durable=True)
        return name

    def _set_aside(self, path: Path, label: str, why: str) -> None:
        aside = quarantine(self.paths, path, f"{self.workspace.id}-{label}")
        if aside is not None:
            self.notice(f"{path} {why}: it was moved to {aside}")


def _snapshot_ids(names: Iterable[str]) -> list[str]:
    ids = {name.partition(".")[0] for name in names}
    return sorted(each for each in ids if is_snapshot_id(each))


def _mark(files: WorkspaceFiles, snapshot_id: str) -> Path:
    return files.snapshots / f"{snapshot_id}{DELETED_SUFFIX}"


def _touch(path: Path) -> None:
    with os_errors(f"make {path}"):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def _entries(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise from_os_error(error, f"list {directory}") from error
