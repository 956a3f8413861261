"""`kill -9` of the caller at every step of a workspace's life: a list puts all right (faults 1 to 5).

Each verb is run once to learn the points it passes, then once for each point, dying there: `make test-all` takes every
point, `make test` a few of them. Afterwards a list is true, nothing is left that should not be, the workspace works,
and a reset brings it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import BASELINE
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot, list_snapshots
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from tests.support.one_verb import Verbs, verbs
from tests.support.thorough import points_of, sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from pathlib import Path

    from pyro_mcp.model.workspace import Workspace
    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

STARTED, STOPPED = WorkspaceState.STARTED, WorkspaceState.STOPPED


@pytest.fixture
def others(tmp_path: Path, yard: HostFixture) -> Generator[Verbs]:
    list_workspaces(yard.engine)
    with verbs(tmp_path) as others:
        yield others


def settled(yard: HostFixture, point: str, states: Collection[WorkspaceState], snapshots: int = 0) -> Workspace:
    """Be the oracle: list once, then look whether the one workspace is whole and nothing besides it is there."""
    (workspace,) = list_workspaces(yard.engine)
    assert workspace.state in states, (point, workspace)
    assert workspace.owner is None, point
    vms, damaged = yard.engine.store.vms.all()
    assert damaged == []
    assert [vm.id for vm in vms] == [workspace.vm_id] * bool(workspace.vm_id), (point, vms, workspace)
    assert bool(workspace.vm_id) is (workspace.state is STARTED), point
    files = yard.disks(workspace)
    assert [path.name for path in files.lives.iterdir()] == [str(workspace.life)], point
    known = yard.engine.store.workspaces.snapshots(workspace.id)
    assert len(known) == snapshots, point
    expected = {f"{each.id}{suffix}" for each in known for suffix in (".img", ".json")}
    expected |= {f"{each.id}.root.img" for each in known if each.root_size_bytes is not None}
    assert {path.name for path in files.snapshots.iterdir()} == expected, point
    assert len(list_snapshots(yard.engine, workspace.id)) == snapshots + 1, point
    assert {path.name for path in files.directory.iterdir()} == {"workspace.json", "baseline.img", "lives", "snapshots"}
    return workspace


def assert_it_works(yard: HostFixture, workspace: Workspace, point: str) -> None:
    assert yard.do(workspace, "echo works") == "works\n", point
    again = reset_workspace(yard.engine, workspace.id)
    assert (again.state, again.reset_count) == (STARTED, workspace.reset_count + 1), point
    assert yard.do(again, "ls") == "", point


def gone(yard: HostFixture, workspace: Workspace, point: str) -> None:
    delete_workspace(yard.engine, workspace.id)
    assert yard.remains() == [], point


def every_point(
    yard: HostFixture,
    others: Verbs,
    tmp_path: Path,
    arguments: tuple[str, ...],
    prepare: Callable[[Workspace], object],
    after: Callable[[str, Workspace], None],
) -> None:
    """Die at each point of the verb, in one workspace that is put into the same state again before each."""
    workspace = yard.workspace()
    verb, *rest = arguments
    prepare(workspace)
    points = points_of(others, tmp_path, verb, workspace.id, *rest)
    assert len(points) > 2
    for point in sampled(points):
        for each in list_snapshots(yard.engine, workspace.id)[1:]:
            delete_snapshot(yard.engine, workspace.id, each.name)
        reset_workspace(yard.engine, workspace.id)
        prepare(workspace)
        before = status_workspace(yard.engine, workspace.id)
        done = others.run(verb, workspace.id, *rest, PYRO_FAULT_POINT=point)
        assert done.status is None, f"{point}: {done}"
        after(point, before)
    gone(yard, workspace, "the end")


def test_create_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "file").write_text("content")
    points = points_of(others, tmp_path, "ws-create", str(seed))
    for workspace in list_workspaces(yard.engine):
        delete_workspace(yard.engine, workspace.id)
    assert {"ws_seed.copied:kill:1", "ws_machine.configured:kill:1", "ws_create.started:kill:1"} <= set(points)
    for point in sampled(points):
        done = others.run("ws-create", str(seed), PYRO_FAULT_POINT=point)
        assert done.status is None, f"{point}: {done}"
        left = list_workspaces(yard.engine)
        if left:
            # It was there already; only its maker was not told.
            workspace = settled(yard, point, {STARTED})
            assert workspace.seed.entry_count == 1
            assert_it_works(yard, workspace, point)
            gone(yard, workspace, point)
        assert yard.remains() == [], point


def test_exec_can_be_killed_anywhere_and_the_workspace_goes_on(
    yard: HostFixture, others: Verbs, tmp_path: Path
) -> None:
    def after(point: str, _before: Workspace) -> None:
        workspace = settled(yard, point, {STARTED})
        assert yard.do(workspace, "echo works") == "works\n", point

    every_point(yard, others, tmp_path, ("ws-exec", "echo hello"), lambda _: None, after)


def test_stop_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def after(point: str, _before: Workspace) -> None:
        workspace = settled(yard, point, {STARTED, STOPPED})
        assert stop_workspace(yard.engine, workspace.id).state is STOPPED, point
        assert yard.do(workspace, "cat file") == "precious\n", point

    every_point(yard, others, tmp_path, ("ws-stop",), lambda each: yard.do(each, "echo precious > file"), after)


def test_start_can_be_killed_anywhere_and_the_disks_stay(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def prepare(workspace: Workspace) -> None:
        yard.do(workspace, "echo precious > file")
        stop_workspace(yard.engine, workspace.id)

    def after(point: str, _before: Workspace) -> None:
        workspace = settled(yard, point, {STARTED, STOPPED})
        assert start_workspace(yard.engine, workspace.id).state is STARTED, point
        assert yard.do(workspace, "cat file") == "precious\n", point

    every_point(yard, others, tmp_path, ("ws-start",), prepare, after)


@pytest.mark.parametrize("was_stopped", [False, True])
def test_reset_can_be_killed_anywhere_and_leaves_the_old_state_or_the_new_one(
    yard: HostFixture, others: Verbs, tmp_path: Path, was_stopped: bool
) -> None:
    def prepare(workspace: Workspace) -> None:
        yard.do(workspace, "echo old > file")
        if was_stopped:
            stop_workspace(yard.engine, workspace.id)

    def after(point: str, before: Workspace) -> None:
        workspace = settled(yard, point, {before.state, STARTED})
        found = yard.do(workspace, "cat file 2>/dev/null || echo none")
        if workspace.reset_count > before.reset_count:
            assert (found, workspace.life, workspace.command_count) == ("none\n", before.life + 1, 0), point
        else:
            assert (found, workspace.life, workspace.command_count) == ("old\n", before.life, 1), point
            assert workspace.state is before.state, point
        assert_it_works(yard, status_workspace(yard.engine, workspace.id), point)

    every_point(yard, others, tmp_path, ("ws-reset",), prepare, after)


@pytest.mark.parametrize(
    ("verb", "was_stopped"), [("ws-snapshot", False), ("ws-snapshot", True), ("ws-snapshot-root", False)]
)
def test_taking_a_snapshot_can_be_killed_anywhere(
    yard: HostFixture, others: Verbs, tmp_path: Path, verb: str, *, was_stopped: bool
) -> None:
    def prepare(workspace: Workspace) -> None:
        for each in list_snapshots(yard.engine, workspace.id)[1:]:
            delete_snapshot(yard.engine, workspace.id, each.name)
        if was_stopped:
            stop_workspace(yard.engine, workspace.id)

    def after(point: str, before: Workspace) -> None:
        list_workspaces(yard.engine)
        names = [each.name for each in list_snapshots(yard.engine, before.id)]
        assert names in ([BASELINE], [BASELINE, "one"]), point
        workspace = settled(yard, point, {before.state}, snapshots=len(names) - 1)
        if len(names) == 1:
            create_snapshot(yard.engine, workspace.id, "one")
        assert reset_workspace(yard.engine, workspace.id, snapshot="one").state is STARTED, point

    every_point(yard, others, tmp_path, (verb, "one"), prepare, after)


def test_deleting_a_snapshot_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def after(point: str, before: Workspace) -> None:
        list_workspaces(yard.engine)
        names = [each.name for each in list_snapshots(yard.engine, before.id)]
        settled(yard, point, {STARTED}, snapshots=len(names) - 1)

    def prepare(workspace: Workspace) -> None:
        create_snapshot(yard.engine, workspace.id, "one", with_root=True)

    every_point(yard, others, tmp_path, ("ws-forget", "one"), prepare, after)


def test_delete_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def workspace_with_a_snapshot() -> Workspace:
        workspace = yard.workspace()
        create_snapshot(yard.engine, workspace.id, "one")
        return workspace

    points = points_of(others, tmp_path, "ws-delete", workspace_with_a_snapshot().id)
    for point in sampled(points):
        before = workspace_with_a_snapshot()
        assert others.run("ws-delete", before.id, PYRO_FAULT_POINT=point).status is None, point
        for workspace in list_workspaces(yard.engine):
            # Killed before it began.
            settled(yard, point, {STARTED}, snapshots=1)
            assert others.run("ws-delete", workspace.id).status == 0, point
        assert "there is no workspace" in others.run("ws-delete", before.id).stderr, point
        assert yard.remains() == [], point
