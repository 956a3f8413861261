"""The life of a workspace, with real guests."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process import ProcessIdentity
from pyro_mcp.host.process.identity import tree_of
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import ExecutionMode, StopReason
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.vmm import watcher
from pyro_mcp.vmm.machine import CLEAN_UP_TIMEOUT_S
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.files.disk import export_disk, list_disk, read_disk
from pyro_mcp.workspace.lifecycle.create import create_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import find_workspace, list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot
from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import GuestCommand

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.model.machine import MachineRecord
    from tests.support.host_fixture import HostFixture
    from tests.support.one_verb import Verbs

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

STARTED, STOPPED = WorkspaceState.STARTED, WorkspaceState.STOPPED
# `make soak` asks for more.
LIVES = int(os.environ.get("PYRO_TEST_LIVES", "8"))
PATIENCE_S = 90.0


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    seed = tmp_path / "seed"
    (seed / "src").mkdir(parents=True)
    (seed / "src" / "run").write_text("#!/bin/sh\necho ran\n")
    (seed / "src" / "run").chmod(0o755)
    (seed / "odd name\n").write_text("odd")
    (seed / "link").symlink_to("src/run")
    return seed


def test_what_was_seeded_is_there_and_stop_and_start_keep_everything(guests: HostFixture, seed: Path) -> None:
    workspace = guests.workspace(seed)
    assert workspace.execution_mode is ExecutionMode.GUEST_VIRTIO_SERIAL
    assert (workspace.seed.mode, workspace.seed.entry_count) == ("directory", 4)
    assert guests.do(workspace, "./link; stat -c %a src/run; cat odd*; stat -c %u:%g src") == "ran\n755\nodd0:0\n"
    guests.do(workspace, "echo root > /root/file; echo work > file; echo lost > /run/file")
    assert stop_workspace(guests.engine, workspace.id).state is STOPPED
    assert guests.processes() == []
    assert start_workspace(guests.engine, workspace.id).state is STARTED
    again = guests.do(workspace, "cat /root/file file; ls /run/file 2>&1 | wc -l; dmesg | grep -c recovery || true")
    assert again == "root\nwork\n1\n0\n"
    assert guests.do(workspace, "hostname") == workspace.id.replace("_", "-")[:12] + "\n"
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


def told_to_end(machine: MachineRecord) -> None:
    """Do what a host that shuts down does to the VM's processes, and wait until they are gone."""
    keeper = ProcessIdentity(machine.keeper_pid, machine.keeper_start_time, machine.boot_id)
    for each in [keeper, *tree_of(keeper.pid)]:
        process.send_signal(each.pid, each.start_time, signal.SIGTERM)
    # The bound for the guest, and the keeper's clean-up.
    assert process.wait_for_exit(keeper.pid, keeper.start_time, timeout_s=5 + CLEAN_UP_TIMEOUT_S)
    assert process.wait_for_exit(machine.vmm_pid, machine.vmm_start_time, timeout_s=CLEAN_UP_TIMEOUT_S)
    assert not os.path.exists(machine.runtime_dir)


def test_a_host_that_shuts_down_loses_nothing_that_a_command_wrote(guests: HostFixture) -> None:
    workspace = guests.workspace()
    guests.do(workspace, "echo work > file; echo root > /root/file; sleep 600 >/dev/null 2>&1 &")
    told_to_end(machine_of(guests, workspace.id))
    assert status_workspace(guests.engine, workspace.id).last_error == ""
    assert start_workspace(guests.engine, workspace.id).last_error == ""
    assert guests.do(workspace, "cat file /root/file; dmesg | grep -c recovery || true") == "work\nroot\n0\n"
    machine = machine_of(guests, workspace.id)
    process.send_signal(machine.vmm_pid, machine.vmm_start_time, signal.SIGSTOP)
    told_to_end(machine)
    assert "did not write its disks in time; changes since" in status_workspace(guests.engine, workspace.id).last_error
    stopped = stop_workspace(guests.engine, start_workspace(guests.engine, workspace.id).id)
    assert stopped.last_error == ""
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


def test_a_reset_throws_everything_away_but_snapshots(guests: HostFixture, seed: Path) -> None:
    workspace = guests.workspace(seed)
    guests.do(workspace, "rm -r src; echo one > file; echo root > /root/file; sleep 600 >/dev/null 2>&1 &")
    # Not yet on the guest's disk by itself.
    snapshot = create_snapshot(guests.engine, workspace.id, "one")
    assert snapshot.size_bytes > 0
    guests.do(workspace, "echo two > file")
    after = reset_workspace(guests.engine, workspace.id)
    assert (after.reset_count, after.command_count, after.life) == (1, 0, 2)
    assert (
        guests.do(workspace, "ls /root; ls file 2>/dev/null; ./link; ps ax | grep -c '[s]leep 600' || true")
        == "ran\n0\n"
    )
    reset_workspace(guests.engine, workspace.id, snapshot="one")
    assert guests.do(workspace, "cat file; ls src 2>/dev/null; true") == "one\n"


def test_a_snapshot_with_the_root_brings_back_what_was_installed(guests: HostFixture) -> None:
    workspace = guests.workspace()
    install = "printf '#!/bin/sh\\necho runs\\n' > /usr/local/bin/tool; chmod +x /usr/local/bin/tool"
    guests.do(workspace, f"{install}; useradd someone; echo one > file")
    # Not yet on the guest's disks by itself.
    snapshot = create_snapshot(guests.engine, workspace.id, "one", with_root=True)
    assert snapshot.root_size_bytes is not None
    assert 0 < snapshot.root_size_bytes < snapshot.size_bytes
    guests.do(workspace, "rm /usr/local/bin/tool; echo two > file")
    reset_workspace(guests.engine, workspace.id)
    assert guests.do(workspace, "ls /usr/local/bin; id -u someone 2>/dev/null; ls") == ""
    for _ in range(2):
        reset_workspace(guests.engine, workspace.id, snapshot="one")
        assert guests.do(workspace, "tool; id -u someone > /dev/null && cat file; hostname").splitlines() == [
            "runs", "one", workspace.id.replace("_", "-")[:12],
        ]  # fmt: skip
        guests.do(workspace, "rm /usr/local/bin/tool file")
    stop_workspace(guests.engine, workspace.id)
    create_snapshot(guests.engine, workspace.id, "without", with_root=True)
    start_workspace(guests.engine, workspace.id)
    reset_workspace(guests.engine, workspace.id, snapshot="without")
    assert guests.do(workspace, "ls /usr/local/bin; id -u someone > /dev/null; ls") == ""
    before = guests.disks(workspace).snapshots
    delete_snapshot(guests.engine, workspace.id, "one")
    assert len(list(before.iterdir())) == 3
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


def test_a_snapshot_is_whole_while_much_is_being_written(guests: HostFixture) -> None:
    workspace = guests.workspace()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            guests.do(
                workspace,
                "for at in . /root; do cd $at; for i in $(seq 20); do mkdir -p d$i && head -c 50000 /dev/zero > d$i/f;"
                " done; rm -r d*; done",
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            create_snapshot(guests.engine, workspace.id, f"number{number}", with_root=number == 2)
    finally:
        stop.set()
        writer.join()
    reset_workspace(guests.engine, workspace.id, snapshot="number2")
    assert guests.do(workspace, "ls -R > /dev/null; touch ok; dmesg | grep -ci 'ext4.*error' || true") == "0\n"
    # Frozen, it needs no journal; the host looks at what only this test's guest has written.
    disk = guests.disks(workspace).snapshots
    for path in disk.glob("*.img"):
        checked = subprocess.run(["/sbin/e2fsck", "-fn", path], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
    delete_workspace(guests.engine, workspace.id)


def test_three_processes_share_a_workspace(guests: HostFixture, others: Verbs, seed: Path) -> None:
    workspace_id = others.run("ws-create", str(seed)).stdout
    assert others.run("ws-exec", workspace_id, "echo there > file").status == 0
    assert others.run("ws-exec", workspace_id, "cat file").stdout == "there\n"
    assert others.run("ws-delete", workspace_id).status == 0
    assert guests.remains() == []


def machine_of(guests: HostFixture, workspace_id: str) -> MachineRecord:
    machine = guests.engine.store.vms.get(find_workspace(guests.engine, workspace_id).vm_id).machine
    assert machine is not None
    return machine


def lose_guest(guests: HostFixture, workspace_id: str) -> None:
    machine = machine_of(guests, workspace_id)
    process.kill(machine.vmm_pid, machine.vmm_start_time)


def test_a_guest_that_was_killed_loses_nothing_that_was_synced(guests: HostFixture) -> None:
    workspace = guests.workspace()
    guests.do(workspace, "echo kept > file; sync")
    lose_guest(guests, workspace.id)
    assert status_workspace(guests.engine, workspace.id).stop_reason is StopReason.LOST
    assert guests.do(workspace, "cat file") == "kept\n"

    def lose(_stream: object, _data: bytes) -> None:
        lose_guest(guests, workspace.id)

    with pytest.raises(PyroError, match="has lost its guest") as caught:
        guests.do(workspace, "echo begun; sleep 600", on_output=lose)
    assert caught.value.code is ErrorCode.GUEST_LOST
    assert guests.do(workspace, "cat file") == "kept\n"
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


def test_a_workspace_whose_time_is_up_is_stopped_with_all_that_was_written(guests: HostFixture) -> None:
    workspace = guests.workspace(ttl_s=2)
    # Nothing is synced: it is switched off in good order.
    guests.do(workspace, "echo kept > file; echo root > /root/file")

    def is_stopped() -> bool:
        return find_workspace(guests.engine, workspace.id).state is STOPPED

    wait_until(is_stopped, timeout_s=PATIENCE_S, what="the workspace to be stopped")
    assert status_workspace(guests.engine, workspace.id).stop_reason is StopReason.TTL
    assert guests.do(workspace, "cat file /root/file; dmesg | grep -c recovery || true") == "kept\nroot\n0\n"
    delete_workspace(guests.engine, workspace.id)
    wait_until(lambda: guests.processes() == [], timeout_s=PATIENCE_S, what="its watcher to end")
    assert guests.remains() == []


def test_a_guest_that_computes_leaves_the_processor_to_others_until_it_rests(
    guests: HostFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PERIOD_S", 1)
    workspace = guests.workspace()
    machine = machine_of(guests, workspace.id)
    own = os.getpriority(os.PRIO_PROCESS, machine.keeper_pid)

    def priorities() -> set[int]:
        tasks = os.listdir(f"/proc/{machine.vmm_pid}/task")
        return {os.getpriority(os.PRIO_PROCESS, int(task)) - own for task in tasks}

    guests.do(workspace, "touch /tmp/on; (while test -e /tmp/on; do :; done) > /dev/null 2>&1 &")
    wait_until(lambda: priorities() == {0, 7}, timeout_s=PATIENCE_S, what="its virtual processor to have a lower one")
    guests.do(workspace, "rm /tmp/on")
    may_return = os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - own
    if may_return:
        wait_until(lambda: priorities() == {0}, timeout_s=PATIENCE_S, what="it to have its own again")


def test_the_disk_of_a_stopped_workspace_is_listed_read_and_exported(
    guests: HostFixture, seed: Path, tmp_path: Path
) -> None:
    # A small one: its whole root is copied.
    workspace = create_workspace(guests.engine, WorkspaceSpec("debian:12-base", seed=seed))
    guests.do(workspace, "echo root > /root/file; echo work > file; echo secret > /run/file")
    with pytest.raises(PyroError, match="only while it is stopped") as caught:
        list_disk(guests.engine, workspace.id, "/", recursive=False)
    assert caught.value.code is ErrorCode.CONFLICT
    stop_workspace(guests.engine, workspace.id)
    listed = list_disk(guests.engine, workspace.id, "/root", recursive=False)
    assert b"root/file" in {entry.path for entry in listed.listing.entries}
    assert read_disk(guests.engine, workspace.id, "/workspace/file", max_bytes=100).text == "work\n"
    image = tmp_path / "image.img"
    exported = export_disk(guests.engine, workspace.id, image)
    assert exported.size_bytes == image.stat().st_size > exported.used_bytes
    checked = subprocess.run(["/sbin/e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert inside(image, "cat /root/file") == "root\n"
    assert inside(image, "cat /workspace/src/run") == (seed / "src" / "run").read_text()
    assert "file" not in inside(image, "ls -p /run")
    with pytest.raises(PyroError, match="already exists"):
        export_disk(guests.engine, workspace.id, image)
    assert os.listdir(tmp_path / "seed") == os.listdir(seed)
    assert list_workspaces(guests.engine)[0].state is STOPPED
    assert guests.do(workspace, "cat file") == "work\n"
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


def inside(image: Path, request: str) -> str:
    """Look into an image that was exported, as its new owner may."""
    return subprocess.run(["/sbin/debugfs", "-R", request, image], capture_output=True, text=True, check=True).stdout


def test_a_guest_that_fills_its_disk_says_so_and_a_reset_brings_it_back(guests: HostFixture) -> None:
    workspace = guests.workspace()
    done = exec_workspace(
        guests.engine, workspace.id, GuestCommand("fallocate -l 20G big || echo full; touch file && echo more", 60)
    )
    assert "full" in done.stdout
    disk = guests.disks(workspace).workspace_disk(1)
    assert disk.stat().st_size == 16 * 1024**3
    assert reset_workspace(guests.engine, workspace.id).state is STARTED
    assert guests.do(workspace, "ls; df --output=pcent . | tail -1").split() == ["1%"]
    delete_workspace(guests.engine, workspace.id)


def test_an_empty_workspace_takes_little_of_the_hosts_disk(guests: HostFixture) -> None:
    workspace = guests.workspace()
    guests.do(workspace, "true")
    used = sum(path.stat().st_blocks * 512 for path in guests.disks(workspace).directory.rglob("*"))
    assert used <= 6 * 1024**2
    delete_workspace(guests.engine, workspace.id)


@pytest.mark.parametrize("verb", ["ws-create", "ws-reset", "ws-stop", "ws-start"])
def test_a_verb_that_is_killed_in_the_middle_harms_nothing(guests: HostFixture, others: Verbs, verb: str) -> None:
    points = {
        "ws-create": ["ws_seed.copied", "launch.restored", "ws_machine.configured"],
        "ws-reset": ["ws_copying.copied", "ws_machine.configured", "ws_reset.recorded"],
        "ws-stop": ["ws_stop.marked", "ws_stop.powered_off"],
        "ws-start": ["launch.restored", "ws_machine.configured"],
    }[verb]
    workspace = guests.workspace()
    guests.do(workspace, "echo kept > file; sync")
    for point in points:
        handle = "" if verb == "ws-create" else workspace.id
        if verb == "ws-start":
            stop_workspace(guests.engine, workspace.id)
        assert others.run(verb, handle, PYRO_FAULT_POINT=point).status is None
        (found,) = list_workspaces(guests.engine)
        assert found.owner is None
        lives = guests.disks(workspace).lives
        assert os.listdir(lives) == [str(found.life)]
        kept = guests.do(workspace, "cat file 2>/dev/null || echo none")
        assert kept == ("none\n" if point == "ws_reset.recorded" else "kept\n"), point
    delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []


@pytest.mark.timeout(300 + 10 * LIVES)
def test_many_workspaces_made_reset_and_deleted_leave_nothing(guests: HostFixture, seed: Path) -> None:
    def life() -> None:
        workspace = guests.workspace(seed)
        guests.do(workspace, "echo there > file")
        reset_workspace(guests.engine, workspace.id)
        assert guests.do(workspace, "ls file 2>&1 | wc -l") == "1\n"
        delete_workspace(guests.engine, workspace.id)

    life()

    def held() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(list(guests.paths.state.rglob("*")))

    before = held()
    for _ in range(LIVES):
        life()
    assert held() == before
    assert guests.remains() == []


def test_several_workspaces_live_side_by_side(guests: HostFixture) -> None:
    workspaces = [guests.workspace() for _ in range(3)]
    for number, workspace in enumerate(workspaces):
        guests.do(workspace, f"echo {number} > file")
    reset_workspace(guests.engine, workspaces[1].id)
    assert [guests.do(each, "cat file 2>/dev/null || echo none") for each in workspaces] == ["0\n", "none\n", "2\n"]
    order = [each.id for each in list_workspaces(guests.engine)]
    assert order == [each.id for each in reversed(workspaces)]
    for workspace in workspaces:
        delete_workspace(guests.engine, workspace.id)
    assert guests.remains() == []
