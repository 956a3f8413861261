"""Workspace records come back as they were written, change only legally, and older databases get their tables."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import new_snapshot_id, new_workspace_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.states import WORKSPACE_TRANSITIONS, WorkspaceState
from pyro_mcp.model.vm import BaseImage, Owner
from pyro_mcp.model.workspace import SeedInfo, SeedNote, SeedOrigin, Snapshot, Workspace
from pyro_mcp.state import schema
from pyro_mcp.state.copies import read_workspace_copy, write_workspace_copy
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.records import to_row, workspace_from_row
from pyro_mcp.state.store import Store
from tests.support.vms import a_vm

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from pyro_mcp.host.paths import Paths

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NUMBER = st.integers(0, 2**40)
TIME = st.floats(0, 2**37)
NOTES = st.lists(st.builds(SeedNote, TEXT, TEXT), max_size=2).map(tuple)
SEEDS = st.builds(
    SeedInfo,
    mode=TEXT,
    seed_path=st.none() | TEXT,
    entry_count=NUMBER,
    bytes_written=NUMBER,
    origin_kind=st.sampled_from(SeedOrigin),
    origin_ref=st.none() | TEXT,
    skipped=NOTES,
    skipped_count=NUMBER,
    changed=NOTES,
    changed_count=NUMBER,
    host_hooks=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    ignored_count=NUMBER,
    ignored_bytes=NUMBER,
    largest_ignored=NOTES,
    notes=st.lists(TEXT, max_size=2).map(tuple),
)
WORKSPACES = st.builds(
    Workspace,
    id=st.builds(new_workspace_id),
    name=st.none() | TEXT,
    labels=st.dictionaries(TEXT, TEXT, max_size=2),
    environment=TEXT,
    base=st.none() | st.builds(BaseImage, TEXT, TEXT),
    variables=st.dictionaries(TEXT, TEXT, max_size=2),
    boot_digest=TEXT,
    shape=st.builds(Shape, st.integers(1, 16), st.integers(256, 4096)),
    ttl_s=NUMBER,
    network_policy=st.sampled_from(NetworkPolicy),
    allow_hosts=st.lists(TEXT, max_size=2).map(tuple),
    deny_hosts=st.lists(TEXT, max_size=2).map(tuple),
    allow_host_compat=st.booleans(),
    require_kvm=st.booleans(),
    state=st.sampled_from(WorkspaceState),
    seed=SEEDS,
    created_at=TIME,
    last_activity_at=TIME,
    expires_at=st.none() | TIME,
    boot_id=TEXT,
    deadline_boottime_s=TIME,
    stop_reason=st.none() | st.sampled_from(StopReason),
    execution_mode=st.none() | st.sampled_from(ExecutionMode),
    isolation=st.none() | st.sampled_from(Isolation),
    reset_count=NUMBER,
    last_reset_at=st.none() | TIME,
    command_count=NUMBER,
    life=st.integers(1, 2**40),
    vm_id=st.sampled_from(["", "vm_" + "a" * 20]),
    owner=st.none() | st.builds(Owner, NUMBER, NUMBER, TEXT),
    last_error=TEXT,
)


def a_workspace(**changes: Any) -> Workspace:
    workspace = Workspace(
        id=new_workspace_id(),
        name=None,
        labels={},
        environment="debian:12",
        base=None,
        variables={},
        boot_digest="",
        shape=Shape(),
        ttl_s=600,
        network_policy=NetworkPolicy.OFF,
        allow_host_compat=False,
        require_kvm=False,
        state=WorkspaceState.STOPPED,
        seed=SeedInfo(),
        created_at=1.0,
        last_activity_at=1.0,
    )
    return replace(workspace, **changes)


@pytest.fixture
def store(private_paths: Paths) -> Generator[Store]:
    with Store(private_paths, print) as store:
        yield store


@given(WORKSPACES)
def test_a_record_comes_back_as_it_was_written(workspace: Workspace) -> None:
    assert workspace_from_row(json.loads(json.dumps(to_row(workspace)))) == workspace


@given(st.sampled_from(sorted(to_row(a_workspace()))), st.sampled_from([None, "{]", -1, 1.5, "[]", "x" * 100]))
def test_a_damaged_record_is_corrupt_or_a_record_and_nothing_else(column: str, value: object) -> None:
    row: dict[str, object] = {**to_row(a_workspace()), column: value}
    with suppress(PyroError):
        assert workspace_from_row(row).id


def test_a_database_of_the_first_version_gets_its_tables_and_keeps_its_vms(private_paths: Paths) -> None:
    with Store(private_paths, print) as store:
        vm = store.vms.insert(a_vm())
    columns = [
        name for name in _columns(private_paths, "vms") if name not in {"workspace_id", "allow_hosts", "deny_hosts"}
    ]
    with closing(sqlite3.connect(private_paths.database)) as connection:
        for name in ("workspaces", "snapshots", "commands", "events"):
            connection.execute(f"DROP TABLE {name}")
        connection.execute("ALTER TABLE vms RENAME TO newer")
        connection.execute(schema.MIGRATIONS[0][0])
        names = ", ".join(columns)
        connection.execute(f"INSERT INTO vms ({names}) SELECT {names} FROM newer")
        connection.execute("DROP TABLE newer")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name != "vms":
                connection.execute(f"DROP TABLE {name}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    with Store(private_paths, print) as store:
        assert store.vms.all() == ([vm], [])
        workspace = store.workspaces.insert(a_workspace())
        assert store.workspaces.all() == ([workspace], [])


def test_a_database_without_hosts_gets_them_empty(private_paths: Paths) -> None:
    with Store(private_paths, print) as store:
        vm, workspace = store.vms.insert(a_vm()), store.workspaces.insert(a_workspace())
    with closing(sqlite3.connect(private_paths.database)) as connection:
        for table in ("vms", "workspaces"):
            for column in ("allow_hosts", "deny_hosts"):
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 6")
        connection.commit()
    with Store(private_paths, print) as store:
        assert (store.vms.get(vm.id), store.workspaces.get(workspace.id)) == (vm, workspace)
        assert store.workspaces.get(workspace.id).allow_hosts == ()


def _columns(paths: Paths, table: str) -> list[str]:
    with closing(sqlite3.connect(paths.database)) as connection:
        return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


@pytest.mark.parametrize("before", WorkspaceState)
@pytest.mark.parametrize("after", WorkspaceState)
def test_only_legal_transitions_are_recorded(store: Store, before: WorkspaceState, after: WorkspaceState) -> None:
    workspace = store.workspaces.insert(a_workspace(state=before))
    if after is before or after in WORKSPACE_TRANSITIONS[before]:
        assert store.workspaces.update(workspace.id, lambda now: replace(now, state=after)).state is after
        return
    with pytest.raises(PyroError, match=f"is {before.value} and can't become {after.value}") as caught:
        store.workspaces.update(workspace.id, lambda now: replace(now, state=after))
    assert caught.value.code is ErrorCode.CONFLICT
    assert caught.value.hint
    assert store.workspaces.get(workspace.id) == workspace


def test_workspaces_are_listed_by_their_last_activity(store: Store) -> None:
    made = [store.workspaces.insert(a_workspace(last_activity_at=float(at))) for at in (2, 3, 1)]
    assert store.workspaces.all()[0] == [made[1], made[0], made[2]]


def test_a_change_that_fails_with_what_belongs_to_it_changes_nothing(store: Store) -> None:
    workspace = store.workspaces.insert(a_workspace())

    def fail(_connection: sqlite3.Connection) -> None:
        raise PyroError(ErrorCode.INTERNAL, "no")

    with pytest.raises(PyroError, match="no"):
        store.workspaces.update(workspace.id, lambda now: replace(now, reset_count=5), also=fail)
    assert store.workspaces.get(workspace.id) == workspace


def test_a_copy_brings_back_the_record_and_its_snapshots(private_paths: Paths) -> None:
    workspace = a_workspace(name="named", labels={"a": "b"})
    files = WorkspaceFiles(private_paths, workspace.id)
    files.directory.mkdir(parents=True)
    snapshots = [Snapshot("one", new_snapshot_id(), 2.0, 4096)]
    write_workspace_copy(files, workspace, snapshots)
    assert read_workspace_copy(files) == (workspace, snapshots)
    other = WorkspaceFiles(private_paths, new_workspace_id())
    other.directory.mkdir()
    other.record.write_bytes(files.record.read_bytes())
    assert read_workspace_copy(other) is None
    for damage in ("", "{]", "[]", '{"id": 5}', files.record.read_text().replace("snap_", "../x_")):
        files.record.write_text(damage)
        assert read_workspace_copy(files) is None


@pytest.mark.parametrize("bad", ["", "ws_", "ws_../../etc", "vm_" + "a" * 20, "ws_" + "a" * 19 + "/"])
def test_no_id_leads_out_of_the_workspaces_directory(private_paths: Paths, bad: str) -> None:
    with pytest.raises(PyroError) as caught:
        WorkspaceFiles(private_paths, bad)
    assert caught.value.code is ErrorCode.INVALID
