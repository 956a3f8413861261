"""What becomes of workspaces whose guest, host, watcher, rows or database were lost (faults 6, 11, 17, 22, 23, 26)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import Owner
from pyro_mcp.state.clock import system_clock
from pyro_mcp.state.quarantine import quarantined
from pyro_mcp.state.workspaces import remove_snapshot
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.commands.logs import logs_workspace
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.expire import expire
from pyro_mcp.workspace.lifecycle.lookup import find_workspace, list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, list_snapshots
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import GuestCommand

if TYPE_CHECKING:
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.model.workspace import Workspace
    from tests.support.host_fixture import HostFixture

STARTED, STOPPED = WorkspaceState.STARTED, WorkspaceState.STOPPED
PATIENCE_S = 60.0


def machine_of(yard: HostFixture, workspace: Workspace) -> MachineRecord:
    machine = yard.engine.store.vms.get(workspace.vm_id).machine
    assert machine is not None
    return machine


def lose_guest(yard: HostFixture, workspace: Workspace) -> None:
    machine = machine_of(yard, workspace)
    process.kill(machine.vmm_pid, machine.vmm_start_time)


def lose_database(yard: HostFixture) -> None:
    yard.engine.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{yard.paths.database}{suffix}").unlink(missing_ok=True)


def gone(yard: HostFixture, *workspaces: Workspace) -> None:
    for workspace in workspaces:
        delete_workspace(yard.engine, workspace.id)
    assert yard.remains() == []


def test_a_lost_guest_is_said_to_be_and_the_next_command_has_another(yard: HostFixture) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "echo kept > file")
    lose_guest(yard, workspace)
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.stop_reason, now.vm_id) == (STOPPED, StopReason.LOST, "")
    assert now.last_error.startswith("the guest ended by itself")
    assert yard.processes() == []
    assert yard.do(workspace, "cat file") == "kept\n"
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.stop_reason) == (STARTED, None)
    # Until the next clean stop.
    assert "may be missing" in now.last_error
    gone(yard, now)


def test_a_guest_whose_runtime_directory_was_removed_at_logout_is_ended_and_starts_again(yard: HostFixture) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "echo kept > file")
    shutil.rmtree(yard.paths.runtime)
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.stop_reason) == (STOPPED, StopReason.LOST)
    assert now.last_error.startswith("the guest was ended, since its sockets")
    assert yard.processes() == []
    assert yard.do(workspace, "cat file") == "kept\n"
    gone(yard, workspace)


def test_a_command_whose_guest_is_lost_says_so_and_stands_in_the_journal(yard: HostFixture) -> None:
    workspace = yard.workspace()

    def lose(_stream: object, _data: bytes) -> None:
        lose_guest(yard, workspace)

    with pytest.raises(PyroError, match="has lost its guest") as caught:
        yard.do(workspace, "echo begun; sleep 600", on_output=lose)
    assert caught.value.code is ErrorCode.GUEST_LOST
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert (record.exit_code, record.stdout) == (None, "begun\n")
    assert record.error
    assert reset_workspace(yard.engine, workspace.id).state is STARTED
    gone(yard, workspace)


def test_after_a_reboot_workspaces_are_stopped_and_start_again(yard: HostFixture) -> None:
    running, stopped = yard.workspace(), yard.workspace()
    stop_workspace(yard.engine, stopped.id)
    lose_guest(yard, running)
    yard.engine.reconcile()
    other_boot = "00000000-0000-0000-0000-000000000000"
    vm_id = "vm_" + "a" * 20
    yard.engine.store.workspaces.update(
        running.id, lambda now: replace(now, state=WorkspaceState.STARTING, boot_id=other_boot)
    )
    yard.engine.store.workspaces.update(running.id, lambda now: replace(now, state=STARTED, vm_id=vm_id))
    found = {each.id: (each.state, each.stop_reason) for each in list_workspaces(yard.engine)}
    assert found == {running.id: (STOPPED, StopReason.HOST_REBOOT), stopped.id: (STOPPED, StopReason.USER)}
    assert yard.do(running, "echo again") == "again\n"
    gone(yard, running, stopped)


def test_a_workspace_whose_time_is_up_is_switched_off_although_nobody_looks(yard: HostFixture) -> None:
    workspace = yard.workspace(ttl_s=1)
    yard.do(workspace, "echo kept > file")

    def is_stopped() -> bool:
        return find_workspace(yard.engine, workspace.id).state is STOPPED

    wait_until(is_stopped, timeout_s=PATIENCE_S, what="the workspace to be stopped")
    wait_until(lambda: yard.processes() == [], timeout_s=PATIENCE_S, what="its processes to end")
    now = status_workspace(yard.engine, workspace.id)
    assert (now.stop_reason, now.expires_at, now.vm_id) == (StopReason.TTL, None, "")
    assert yard.do(workspace, "cat file") == "kept\n"
    gone(yard, workspace)


def test_activity_renews_the_time_to_live_and_looking_does_not(yard: HostFixture) -> None:
    workspace = yard.workspace()
    before = status_workspace(yard.engine, workspace.id)
    assert before.last_activity_at == workspace.last_activity_at
    yard.do(workspace, "true")
    after = status_workspace(yard.engine, workspace.id)
    assert after.last_activity_at > before.last_activity_at
    assert after.deadline_boottime_s > before.deadline_boottime_s
    assert after.expires_at == pytest.approx(after.last_activity_at + after.ttl_s, abs=1)
    gone(yard, workspace)


def overdue(yard: HostFixture, workspace: Workspace) -> None:
    yard.engine.store.workspaces.update(workspace.id, lambda now: replace(now, deadline_boottime_s=1.0))


def test_no_time_runs_out_while_somebody_uses_the_guest(yard: HostFixture) -> None:
    workspace = yard.workspace()
    with guest_of(yard.engine, workspace.id) as use:
        overdue(yard, workspace)
        assert expire(yard.engine, workspace.id, workspace.vm_id) > 0
        assert use.machine.is_alive()
    # The use has renewed it.
    assert expire(yard.engine, workspace.id, workspace.vm_id) > 1
    overdue(yard, workspace)
    assert expire(yard.engine, workspace.id, "vm_" + "a" * 20) == 0
    assert find_workspace(yard.engine, workspace.id).state is STARTED
    machine = machine_of(yard, workspace)
    assert expire(yard.engine, workspace.id, workspace.vm_id) == 0
    assert find_workspace(yard.engine, workspace.id).stop_reason is StopReason.TTL
    # It was not asked by its watcher, which would end by itself then.
    process.kill(*machine.remover, tree=True)
    gone(yard, workspace)


def test_a_watcher_that_was_killed_is_replaced_when_the_time_is_up(yard: HostFixture) -> None:
    workspace = yard.workspace()
    before = machine_of(yard, workspace).remover
    process.kill(*before, tree=True)
    list_workspaces(yard.engine)
    assert machine_of(yard, workspace).remover == before
    overdue(yard, workspace)
    list_workspaces(yard.engine)
    wait_until(
        lambda: find_workspace(yard.engine, workspace.id).state is STOPPED,
        timeout_s=PATIENCE_S,
        what="the workspace to be stopped",
    )
    gone(yard, workspace)


def test_after_the_database_is_lost_workspaces_and_snapshots_are_taken_up_again(yard: HostFixture) -> None:
    running, stopped = yard.workspace(name="running", labels={"a": "b"}), yard.workspace()
    yard.do(running, "echo kept > file")
    create_snapshot(yard.engine, running.id, "one")
    stop_workspace(yard.engine, stopped.id)
    lose_database(yard)
    found = {each.id: each for each in list_workspaces(yard.engine)}
    assert {each.state for each in found.values()} == {STARTED, STOPPED}
    assert (found[running.id].name, found[running.id].labels) == ("running", {"a": "b"})
    assert found[running.id].vm_id == running.vm_id
    assert len(yard.said.notices) == 2
    assert yard.do(running, "cat file") == "kept\n"
    assert [each.name for each in list_snapshots(yard.engine, "running")] == ["baseline", "one"]
    reset_workspace(yard.engine, "running", snapshot="one")
    assert yard.do(stopped, "echo works") == "works\n"
    gone(yard, running, stopped)


def test_after_the_database_and_the_guest_are_lost_the_workspace_is_stopped(yard: HostFixture) -> None:
    workspace = yard.workspace()
    lose_guest(yard, workspace)
    lose_database(yard)
    (found,) = list_workspaces(yard.engine)
    assert (found.state, found.stop_reason) == (STOPPED, StopReason.LOST)
    assert start_workspace(yard.engine, workspace.id).state is STARTED
    gone(yard, workspace)


@pytest.mark.parametrize("damage", ["labels = '{]'", "state = 'levitating'", "life = 0", "shape"])
def test_a_damaged_row_is_restored_from_its_copy_and_the_others_load(yard: HostFixture, damage: str) -> None:
    damaged, whole = yard.workspace(name="precious"), yard.workspace()
    stop_workspace(yard.engine, damaged.id)
    statement = damage if "=" in damage else "mem_mib = 1"
    with closing(sqlite3.connect(yard.paths.database)) as connection:
        connection.execute(f"UPDATE workspaces SET {statement} WHERE id = ?", (damaged.id,))
        connection.commit()
    assert find_workspace(yard.engine, damaged.id).name == "precious"
    found = {each.id: (each.name, each.state) for each in list_workspaces(yard.engine)}
    assert found == {damaged.id: ("precious", STOPPED), whole.id: (None, STARTED)}
    assert yard.do(damaged, "echo works") == "works\n"
    gone(yard, damaged, whole)


def test_a_directory_that_nothing_is_known_of_is_set_aside_with_a_notice(yard: HostFixture) -> None:
    workspace = stop_workspace(yard.engine, yard.workspace().id)
    yard.disks(workspace).record.write_text("{]")
    lose_database(yard)
    assert list_workspaces(yard.engine) == ()
    (notice,) = yard.said.notices
    (aside,) = quarantined(yard.paths)
    assert str(aside) in notice
    assert (aside / "lives" / "1" / "workspace.img").exists()
    assert list_workspaces(yard.engine) == ()


def test_what_a_killed_creation_left_goes_although_the_database_is_lost(yard: HostFixture) -> None:
    list_workspaces(yard.engine)
    left = yard.paths.workspaces / ("ws_" + "a" * 20) / "lives" / "1"
    left.mkdir(parents=True)
    (left / "workspace.img").write_bytes(b"half")
    (left.parents[1] / "unfinished").touch()
    foreign = yard.paths.workspaces / "somebody's"
    foreign.mkdir()
    list_workspaces(yard.engine)
    assert os.listdir(yard.paths.workspaces) == ["somebody's"]
    foreign.rmdir()


def test_a_clock_that_is_set_neither_ends_a_workspace_nor_keeps_one(yard: HostFixture) -> None:
    workspace = yard.workspace()
    system = system_clock()
    for offset_s in (365 * 86400, -3600):
        clock = replace(system, wall_s=lambda offset_s=offset_s: system.wall_s() + offset_s)
        with Engine(yard.paths, drivers=yard.drivers, clock=clock) as engine:
            (found,) = list_workspaces(engine)
            assert found.state is STARTED
            assert expire(engine, workspace.id, workspace.vm_id) > 0
            assert exec_workspace(engine, workspace.id, GuestCommand("true")).exit_code == 0
    later = replace(system, boottime_s=lambda: system.boottime_s() + workspace.ttl_s + 1)
    with Engine(yard.paths, drivers=yard.drivers, clock=later) as engine:
        machine = machine_of(yard, workspace)
        assert expire(engine, workspace.id, workspace.vm_id) == 0
        process.kill(*machine.remover, tree=True)
    gone(yard, workspace)


def test_a_base_image_that_is_gone_is_said_to_be(yard: HostFixture) -> None:
    workspace = stop_workspace(yard.engine, yard.workspace().id)
    elsewhere = "/nowhere/base.img"
    yard.engine.store.workspaces.update(
        workspace.id, lambda now: replace(now, base=replace(now.base, path=elsewhere) if now.base else None)
    )
    with pytest.raises(PyroError, match="base image") as caught:
        yard.do(workspace, "true")
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert status_workspace(yard.engine, workspace.id).state is STOPPED
    gone(yard, workspace)


def two_lives(yard: HostFixture) -> Workspace:
    """Return a stopped workspace that was reset, with the file `new` in its second life."""
    workspace = yard.workspace()
    reset_workspace(yard.engine, workspace.id)
    yard.do(workspace, "echo kept > new")
    return stop_workspace(yard.engine, workspace.id)


def fall_back(yard: HostFixture, workspace: Workspace) -> None:
    """Let the database be as it was before the reset, as if it had lost its last transactions."""
    yard.engine.store.workspaces.update(workspace.id, lambda now: replace(now, life=1, state=WorkspaceState.STARTING))
    yard.engine.store.workspaces.update(workspace.id, lambda now: replace(now, state=STARTED, vm_id="vm_" + "a" * 20))


def test_a_life_that_the_database_has_lost_is_adopted(yard: HostFixture) -> None:
    workspace = two_lives(yard)
    fall_back(yard, workspace)
    (found,) = list_workspaces(yard.engine)
    assert (found.state, found.life) == (STOPPED, 2)
    assert yard.do(workspace, "cat new") == "kept\n"
    assert quarantined(yard.paths) == []
    gone(yard, workspace)


def test_a_life_that_can_not_be_identified_is_moved_to_quarantine(yard: HostFixture) -> None:
    workspace = two_lives(yard)
    yard.disks(workspace).life_record(2).write_text("{}")
    fall_back(yard, workspace)
    list_workspaces(yard.engine)
    (aside,) = quarantined(yard.paths)
    assert (aside / "workspace.img").exists()
    assert any(str(aside) in notice for notice in yard.said.notices)
    gone(yard, workspace)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_snapshot_that_the_database_has_lost_is_adopted_or_moved_to_quarantine(
    yard: HostFixture, *, is_whole: bool
) -> None:
    workspace = yard.workspace()
    snapshot = create_snapshot(yard.engine, workspace.id, "one", with_root=True)
    yard.engine.store.database.write(lambda connection: remove_snapshot(connection, workspace.id, "one"))
    if not is_whole:
        record = yard.disks(workspace).snapshot_record(snapshot.id)
        record.write_bytes(record.read_bytes().replace(b'"one"', b'"onf"'))
    stop_workspace(yard.engine, workspace.id)
    yard.engine.store.workspaces.update(workspace.id, lambda now: replace(now, owner=Owner(1, 1, "an earlier boot")))
    list_workspaces(yard.engine)
    names = [each.name for each in list_snapshots(yard.engine, workspace.id)]
    if is_whole:
        assert names == ["baseline", "one"]
        assert list_snapshots(yard.engine, workspace.id)[1] == snapshot
        assert reset_workspace(yard.engine, workspace.id, snapshot="one").state is STARTED
    else:
        assert names == ["baseline"]
        disk, root = quarantined(yard.paths)
        assert snapshot.id in disk.name
        assert snapshot.id in root.name
    gone(yard, workspace)


def test_a_deleted_workspace_does_not_come_back_with_an_older_database(yard: HostFixture) -> None:
    workspace, other = yard.workspace(name="same"), yard.workspace()
    with closing(sqlite3.connect(yard.paths.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(yard.paths.state / "older.db"),))
    with pytest.MonkeyPatch.context() as patch:
        # The removal of the files does not get far.
        patch.setattr("pyro_mcp.state.discard.remove_disks", Path.exists)
        delete_workspace(yard.engine, workspace.id)
    lose_database(yard)
    (yard.paths.state / "older.db").rename(yard.paths.database)
    assert [each.id for each in list_workspaces(yard.engine)] == [other.id]
    assert sorted(os.listdir(yard.paths.workspaces)) == [other.id]
    again = yard.workspace(name="same")
    gone(yard, again, other)
