"""A disk that is lost or damaged keeps nobody from the work on the others (faults 23 and 24)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.state.quarantine import quarantined
from pyro_mcp.workspace.files.disk import list_disk
from pyro_mcp.workspace.files.export import export_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.review.diff import diff_workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.model.workspace import Workspace
    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

_MAGIC = 1024 + 0x38


def lose(disk: Path) -> None:
    disk.unlink()


def empty(disk: Path) -> None:
    disk.chmod(0o600)
    os.truncate(disk, 0)


def flip(disk: Path) -> None:
    """Change one byte, that by which a kernel knows the file system."""
    disk.chmod(0o600)
    with open(disk, "r+b") as file:
        file.seek(_MAGIC)
        file.write(b"\0")


DAMAGES = pytest.mark.parametrize("damage", [lose, empty, flip])


def with_work(guests: HostFixture) -> Workspace:
    """Return a stopped workspace with a snapshot, and `file` in it."""
    workspace = guests.workspace()
    guests.do(workspace, "echo kept > file; echo installed > /root/tool")
    create_snapshot(guests.engine, workspace.id, "one")
    return stop_workspace(guests.engine, workspace.id)


def export_works(guests: HostFixture, workspace: Workspace, place: Path) -> None:
    assert [each.id for each in list_workspaces(guests.engine)] == [workspace.id]
    export_workspace(guests.engine, workspace.id, "/workspace", place)
    assert (place / "file").read_text() == "kept\n"


@DAMAGES
def test_without_its_root_disk_a_workspace_starts_with_a_new_one(
    guests: HostFixture, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    workspace = with_work(guests)
    damage(guests.disks(workspace).root_disk(1))
    with pytest.raises(PyroError) as caught:
        list_disk(guests.engine, workspace.id, "/", recursive=False)
    assert "`pyro workspace start`" in caught.value.hint
    assert "`pyro workspace export`" in caught.value.hint
    export_works(guests, workspace, tmp_path / "out")
    assert "installed outside /workspace" in status_workspace(guests.engine, workspace.id).last_error
    assert bool(quarantined(guests.paths)) is (damage is not lose)
    assert reset_workspace(guests.engine, workspace.id, snapshot="one").last_error == ""
    delete_workspace(guests.engine, workspace.id)


@DAMAGES
def test_without_its_baseline_a_workspace_works_and_resets_to_its_snapshots(
    guests: HostFixture, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    workspace = with_work(guests)
    damage(guests.disks(workspace).baseline_disk)
    export_works(guests, workspace, tmp_path / "out")
    with pytest.raises(PyroError, match="baseline"):
        diff_workspace(guests.engine, workspace.id)
    with pytest.raises(PyroError) as caught:
        reset_workspace(guests.engine, workspace.id)
    assert "`pyro workspace snapshot list`" in caught.value.hint
    assert guests.do(workspace, "cat file") == "kept\n"
    reset_workspace(guests.engine, workspace.id, snapshot="one")
    assert guests.do(workspace, "cat file") == "kept\n"
    delete_workspace(guests.engine, workspace.id)


@DAMAGES
def test_without_a_snapshot_everything_but_that_snapshot_works(
    guests: HostFixture, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    workspace = with_work(guests)
    (disk,) = guests.disks(workspace).snapshots.glob("*.img")
    damage(disk)
    with pytest.raises(PyroError) as caught:
        reset_workspace(guests.engine, workspace.id, snapshot="one")
    assert "`pyro workspace snapshot list`" in caught.value.hint
    export_works(guests, workspace, tmp_path / "out")
    delete_workspace(guests.engine, workspace.id)


@DAMAGES
def test_without_its_own_disk_a_workspace_comes_back_from_a_snapshot(
    guests: HostFixture, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    workspace = with_work(guests)
    damage(guests.disks(workspace).workspace_disk(1))
    with pytest.raises(PyroError) as caught:
        guests.do(workspace, "true")
    assert "`pyro workspace reset`" in caught.value.hint
    reset_workspace(guests.engine, workspace.id, snapshot="one")
    export_works(guests, workspace, tmp_path / "out")
    delete_workspace(guests.engine, workspace.id)
