"""The life of a workspace whose commands run on the host itself: directories instead of disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.files.disk import list_disk
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot, list_snapshots
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    forget_hits()
    monkeypatch.setenv("PYRO_VMM", "none")
    yard = HostFixture(private_paths)
    yield yard
    yard.close()


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    seed = tmp_path / "seed"
    (seed / "src").mkdir(parents=True)
    (seed / "src" / "run").write_text("#!/bin/sh\necho ran\n")
    (seed / "src" / "run").chmod(0o755)
    (seed / "link").symlink_to("src/run")
    (seed / "src" / "again").hardlink_to(seed / "src" / "run")
    return seed


def test_a_workspace_lives_through_stop_start_snapshot_and_reset(host: HostFixture, seed: Path) -> None:
    workspace = host.workspace(seed, allow_host_compat=True)
    assert (workspace.execution_mode, workspace.isolation) == (ExecutionMode.HOST_COMPAT, Isolation.NONE)
    assert (workspace.seed.mode, workspace.seed.entry_count) == ("directory", 4)
    assert host.do(workspace, "./link; cat src/again | wc -l") == "ran\n2\n"
    host.do(workspace, "echo one > file")
    create_snapshot(host.engine, workspace.id, "one")
    host.do(workspace, "echo two > file")
    assert stop_workspace(host.engine, workspace.id).state is WorkspaceState.STOPPED
    start_workspace(host.engine, workspace.id)
    assert host.do(workspace, "cat file") == "two\n"
    reset_workspace(host.engine, workspace.id, snapshot="one")
    assert host.do(workspace, "cat file; ./link") == "one\nran\n"
    reset_workspace(host.engine, workspace.id)
    assert host.do(workspace, "cat file 2>/dev/null || ls; ./link") == "link\nsrc\nran\n"
    assert [each.name for each in list_snapshots(host.engine, workspace.id)] == ["baseline", "one"]
    delete_snapshot(host.engine, workspace.id, "one")
    delete_workspace(host.engine, workspace.id)
    assert list_workspaces(host.engine) == ()
    assert host.remains() == []


def test_a_stopped_one_starts_by_itself_for_the_next_command(host: HostFixture) -> None:
    workspace = host.workspace(allow_host_compat=True)
    host.do(workspace, "echo kept > file")
    stop_workspace(host.engine, workspace.id)
    assert host.do(workspace, "cat file") == "kept\n"


def test_what_needs_a_guest_is_refused_with_a_reason(host: HostFixture) -> None:
    with pytest.raises(PyroError, match="needs a guest") as caught:
        host.workspace(allow_host_compat=True, network_policy=NetworkPolicy.EGRESS)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    with pytest.raises(PyroError, match="PYRO_VMM=none"):
        host.workspace()
    workspace = stop_workspace(host.engine, host.workspace(allow_host_compat=True).id)
    with pytest.raises(PyroError, match="has no disk") as caught:
        list_disk(host.engine, workspace.id, "/", recursive=False)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    delete_workspace(host.engine, workspace.id)
    assert host.remains() == []


def test_a_seed_that_is_not_there_leaves_nothing(host: HostFixture, tmp_path: Path) -> None:
    with pytest.raises(PyroError) as caught:
        host.workspace(tmp_path / "nowhere", allow_host_compat=True)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert host.remains() == []
