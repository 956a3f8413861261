"""Verbs that fail in the middle leave a workspace as it was, or say what it is now (faults 9, 10, 34)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot, list_snapshots
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from tests.support.fake_driver import FakeDrivers
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.workspace import Workspace

STARTED, STOPPED, FAILED = WorkspaceState.STARTED, WorkspaceState.STOPPED, WorkspaceState.FAILED
FULL = PyroError(ErrorCode.NO_SPACE, "the disk is full", hint="Free some.")


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "file").write_text("content")
    return seed


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let copies of disks fail in the middle, as they do on a full disk."""

    def copy(_source: int, target: int) -> None:
        os.pwrite(target, b"half", 0)
        raise FULL

    monkeypatch.setattr("pyro_mcp.workspace.machines.disks.sparse_copy", copy)


def gone(yard: HostFixture, workspace: Workspace) -> None:
    delete_workspace(yard.engine, workspace.id)
    assert yard.remains() == []


def test_a_creation_on_a_full_disk_leaves_nothing(
    yard: HostFixture, seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch)
    with pytest.raises(PyroError) as caught:
        yard.workspace(seed)
    assert caught.value.code is ErrorCode.NO_SPACE
    assert yard.remains() == []
    assert list_workspaces(yard.engine) == ()


@pytest.mark.parametrize("what", ["nowhere", "file", "bad.tar"])
def test_a_bad_seed_leaves_nothing_and_says_what_is_wrong(yard: HostFixture, seed: Path, what: str) -> None:
    (seed / "bad.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(PyroError, match=what):
        yard.workspace(seed / what)
    assert yard.remains() == []


def test_a_snapshot_on_a_full_disk_leaves_nothing_half_made(yard: HostFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = yard.workspace()
    with monkeypatch.context() as patch:
        fill_disk(patch)
        with pytest.raises(PyroError) as caught:
            create_snapshot(yard.engine, workspace.id, "one")
    assert caught.value.code is ErrorCode.NO_SPACE
    assert [each.name for each in list_snapshots(yard.engine, workspace.id)] == ["baseline"]
    assert os.listdir(yard.disks(workspace).snapshots) == []
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.owner) == (STARTED, None)
    create_snapshot(yard.engine, workspace.id, "one")
    gone(yard, workspace)


@pytest.mark.parametrize("was_stopped", [False, True])
def test_a_reset_on_a_full_disk_changes_nothing(
    yard: HostFixture, monkeypatch: pytest.MonkeyPatch, was_stopped: bool
) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "echo kept > file")
    if was_stopped:
        stop_workspace(yard.engine, workspace.id)
    before = status_workspace(yard.engine, workspace.id)
    with monkeypatch.context() as patch:
        fill_disk(patch)
        with pytest.raises(PyroError) as caught:
            reset_workspace(yard.engine, workspace.id)
    assert caught.value.code is ErrorCode.NO_SPACE
    assert status_workspace(yard.engine, workspace.id) == before
    assert os.listdir(yard.disks(workspace).lives) == ["1"]
    assert yard.do(workspace, "cat file") == "kept\n"
    assert reset_workspace(yard.engine, workspace.id).reset_count == 1
    gone(yard, workspace)


def test_there_is_nothing_to_reset_to_where_the_name_is_not_known(yard: HostFixture) -> None:
    workspace = yard.workspace()
    with pytest.raises(PyroError, match="has no snapshot 'none'") as caught:
        reset_workspace(yard.engine, workspace.id, snapshot="none")
    assert caught.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(PyroError, match="baseline can't be deleted"):
        delete_snapshot(yard.engine, workspace.id, "baseline")
    for bad in ("baseline", "", "../x", "snap_x", "a b"):
        with pytest.raises(PyroError) as caught:
            create_snapshot(yard.engine, workspace.id, bad)
        assert caught.value.code is ErrorCode.INVALID
    assert status_workspace(yard.engine, workspace.id).vm_id == workspace.vm_id
    gone(yard, workspace)


def test_a_start_that_fails_is_told_and_may_be_tried_again(yard: HostFixture) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "echo kept > file")
    stop_workspace(yard.engine, workspace.id)
    refused = PyroError(ErrorCode.PERMISSION, "not today", hint="Ask tomorrow.")
    yard.fakes.fake.refusals = {"restore": refused, "boot": refused}
    with pytest.raises(PyroError, match="not today") as caught:
        start_workspace(yard.engine, workspace.id)
    assert caught.value.hint.startswith("Ask tomorrow.")
    assert "workspace reset" in caught.value.hint
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.last_error, now.vm_id) == (FAILED, "not today", "")
    assert yard.engine.store.vms.all() == ([], [])
    yard.fakes.fake.refusals = {}
    assert yard.do(workspace, "cat file") == "kept\n"
    assert status_workspace(yard.engine, workspace.id).last_error == ""
    gone(yard, workspace)


def test_a_workspace_that_does_not_start_is_brought_back_by_a_reset(yard: HostFixture) -> None:
    workspace = yard.workspace()
    stop_workspace(yard.engine, workspace.id)
    yard.disks(workspace).workspace_disk(1).unlink()
    with pytest.raises(PyroError):
        start_workspace(yard.engine, workspace.id)
    assert status_workspace(yard.engine, workspace.id).state is FAILED
    assert reset_workspace(yard.engine, workspace.id).state is STARTED
    gone(yard, workspace)


def test_a_workspace_lives_in_odd_and_long_places(
    private_paths: Paths, tiny_cache: Path, yard: HostFixture, tmp_path: Path
) -> None:
    # The template is the cache's, which `yard` has filled.
    odd = tmp_path / "with a space" / "ünï ☃ $(id)" / ("long" * 30)
    odd.mkdir(parents=True)
    old = os.umask(0o077)
    try:
        place = HostFixture(
            replace(private_paths, cache=tiny_cache, state=odd / "state", runtime=odd / "run"), FakeDrivers()
        )
        try:
            workspace = place.workspace()
            assert place.do(workspace, "echo kept > file; cat file") == "kept\n"
            create_snapshot(place.engine, workspace.id, "one")
            stop_workspace(place.engine, workspace.id)
            assert place.do(workspace, "cat file") == "kept\n"
            reset_workspace(place.engine, workspace.id, snapshot="one")
            gone(place, workspace)
        finally:
            place.close()
    finally:
        os.umask(old)
    assert yard.remains() == []
