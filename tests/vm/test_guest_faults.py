"""Guests that misbehave or die, and hosts that fail them: typed errors, bounded time, nothing left (faults 6 to 19)."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import VmState, WorkspaceState
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.files.access import write_file
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces, status_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.run import run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms, status_vm
from tests.support.host_fixture import HostFixture
from tests.support.one_verb import INTERRUPTED, Running, Verbs

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.model.vm import Vm

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

PATIENCE_S = 90.0
SLEEP = "echo begun; sleep 600"
SYSRQ = "echo 1 > /proc/sys/kernel/sysrq"


def begun(running: Running) -> Running:
    wait_until(lambda: "begun" in running.stdout(), timeout_s=PATIENCE_S, what="the command to begin")
    return running


def vmm_of(vm: Vm) -> tuple[int, int]:
    assert vm.machine is not None
    return vm.machine.vmm_pid, vm.machine.vmm_start_time


def state_of(guests: HostFixture, vm: Vm) -> VmState:
    return status_vm(guests.engine, vm.id).state


def test_a_command_that_eats_all_memory_is_killed_and_the_agent_is_not(guests: HostFixture) -> None:
    result = guests.run("tail /dev/zero; echo status $?", timeout_s=120)
    assert result.stdout == "status 137\n"
    # The shell ended well; one of its children was the victim.
    assert result.oom_killed
    assert guests.remains() == []


def test_a_fork_bomb_ends_at_its_timeout(guests: HostFixture) -> None:
    result = guests.run("bomb() { bomb | bomb & }; bomb; sleep 100", timeout_s=5)
    assert result.timed_out
    assert guests.remains() == []


def test_a_full_disk_is_the_guests_own_problem(guests: HostFixture) -> None:
    result = guests.run("fallocate -l 15G /big && fallocate -l 2G /more; echo status $?; echo still here", timeout_s=60)
    assert result.stdout == "status 1\nstill here\n"
    assert "No space left on device" in result.stderr
    assert guests.remains() == []


def test_killing_everything_it_can_see_takes_the_command_and_not_the_agent(guests: HostFixture) -> None:
    vm = guests.started()
    result = guests.exec(vm, "kill -9 -1; echo survived")
    assert result.exit_code in {0, 137}
    assert guests.remains() == []


def test_a_command_that_removes_everything_ends_and_the_agent_still_answers(guests: HostFixture) -> None:
    vm = guests.started()
    guests.inside(vm, "rm -rf --no-preserve-root / 2>/dev/null; true", timeout_s=120)
    with pytest.raises(PyroError, match="can't run a command in '/workspace'") as caught:
        guests.exec(vm, ("git", "--version"))
    assert caught.value.details["exit_code"] == 126
    assert guests.remains() == []


def test_a_disk_that_a_command_made_read_only_is_writable_again_after_a_stop(guests: HostFixture) -> None:
    workspace = guests.workspace()
    guests.do(workspace, "echo kept > f && sync && mount -o remount,ro /workspace")
    with pytest.raises(PyroError, match="can't be read or changed") as caught:
        write_file(guests.engine, workspace.id, "f", "new")
    assert caught.value.code is not ErrorCode.INTERNAL
    assert guests.do(workspace, "cat f") == "kept\n"
    assert stop_workspace(guests.engine, workspace.id).last_error == ""
    guests.do(workspace, 'test "$(cat f)" = kept && echo more >> f')


def test_a_panic_is_seen_and_the_consoles_end_is_shown(guests: HostFixture) -> None:
    vm = guests.started()
    with pytest.raises(PyroError) as caught:
        guests.exec(vm, f"{SYSRQ}; echo c > /proc/sysrq-trigger; sleep 600", timeout_s=60)
    assert caught.value.code is ErrorCode.GUEST_LOST
    assert "Kernel panic" in str(caught.value.details["console"])
    assert guests.remains() == []


def test_a_panic_of_an_idle_guest_shows_as_stopped_with_its_last_words(guests: HostFixture) -> None:
    vm = guests.started()
    guests.inside(vm, f"{SYSRQ}; (sleep 0.2; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &")
    wait_until(lambda: state_of(guests, vm) is VmState.STOPPED, timeout_s=PATIENCE_S, what="the panic to be seen")
    lost = status_vm(guests.engine, vm.id)
    assert lost.stop_reason is StopReason.LOST
    assert "Kernel panic" in lost.last_error
    assert start_vm(guests.engine, vm.id).last_error == ""
    assert guests.exec(vm, "echo works").stdout == "works\n"
    assert guests.remains() == []


@pytest.mark.parametrize("key", ["b", "o"])
def test_a_guest_that_reboots_or_switches_itself_off_is_a_typed_error(guests: HostFixture, key: str) -> None:
    vm = guests.started()
    with pytest.raises(PyroError) as caught:
        guests.exec(vm, f"{SYSRQ}; echo {key} > /proc/sysrq-trigger; sleep 600", timeout_s=2)
    assert caught.value.code in {ErrorCode.GUEST_LOST, ErrorCode.TIMEOUT}
    assert guests.remains() == []


def test_a_machine_that_is_killed_in_a_command_is_a_typed_error(guests: HostFixture, others: Verbs) -> None:
    vm = guests.started()
    running = begun(others.start("exec", vm.id, SLEEP))
    process.kill(*vmm_of(vm))
    done = running.wait()
    assert done.status == 1
    assert "the guest went away" in done.stderr
    assert guests.remains() == []


def test_a_machine_that_is_killed_idle_is_stopped_and_starts_again_with_its_disk(guests: HostFixture) -> None:
    vm = guests.started()
    guests.inside(vm, "echo kept > /root/file; sync")
    process.kill(*vmm_of(vm))
    lost = status_vm(guests.engine, vm.id)
    assert (lost.state, lost.stop_reason) == (VmState.STOPPED, StopReason.LOST)
    start_vm(guests.engine, vm.id)
    assert guests.exec(vm, "cat /root/file").stdout == "kept\n"
    assert guests.remains() == []


def test_a_machine_that_stands_still_costs_the_commands_timeout_and_a_little_more(guests: HostFixture) -> None:
    vm = guests.started()
    process.send_signal(*vmm_of(vm), signal.SIGSTOP)
    with pytest.raises(PyroError) as caught:
        guests.exec(vm, "true", timeout_s=1)
    assert caught.value.code is ErrorCode.TIMEOUT
    assert guests.remains() == []


def test_a_vm_whose_time_is_up_in_a_command_says_so(guests: HostFixture) -> None:
    guests.run()
    with pytest.raises(PyroError, match="ran out while the command ran") as caught:
        run_in_vm(guests.engine, guests.spec(ttl_s=4), GuestCommand(SLEEP, timeout_s=60))
    assert caught.value.code is ErrorCode.TIMEOUT
    assert guests.remains() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(guests: HostFixture, others: Verbs, number: int) -> None:
    running = begun(others.start("run", "", SLEEP))
    running.interrupt(number)
    assert running.wait().status == INTERRUPTED
    assert guests.remains() == []


@pytest.mark.parametrize(
    "point", ["vmm.after_keeper", "vmm.after_start", "launch.restored", "run.ended", "delete.marked"]
)
def test_a_run_that_is_killed_leaves_nothing_to_the_next_list(guests: HostFixture, others: Verbs, point: str) -> None:
    assert others.run("run", PYRO_FAULT_POINT=point).status is None
    assert list_vms(guests.engine) == []
    assert guests.remains() == []


def test_a_run_that_is_killed_while_it_streams_leaves_nothing_to_the_next_list(
    guests: HostFixture, others: Verbs
) -> None:
    running = begun(others.start("run", "", "echo begun; yes"))
    process.kill(running.pid, running.start_time)
    assert list_vms(guests.engine) == []
    assert guests.remains() == []


def test_a_run_whose_caller_was_killed_ends_with_its_lease_although_nobody_looks(
    guests: HostFixture, others: Verbs
) -> None:
    vm = guests.started(ttl_s=6)
    running = begun(others.start("exec", vm.id, SLEEP))
    process.kill(running.pid, running.start_time)
    wait_until(lambda: guests.processes() == [], timeout_s=PATIENCE_S, what="the machine to end with its lease")
    assert not guests.files(vm).root_disk.exists()
    assert list_vms(guests.engine) == []
    assert guests.remains() == []


def test_the_clock_is_right_after_a_restore(guests: HostFixture) -> None:
    before = time.time()
    guest = int(guests.run("date +%s").stdout)
    assert before - 2 <= guest <= time.time() + 2


def test_ten_processes_at_once_each_run_a_vm(guests: HostFixture, others: Verbs) -> None:
    guests.run()
    running = [others.start("run", "", f"echo number {number}") for number in range(10)]
    assert [each.wait().stdout for each in running] == [f"number {number}\n" for number in range(10)]
    assert guests.remains() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """Mount a file system of 160 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", place], timeout_s=30)
    yield place

    # A watcher may be looking at it.
    def is_unmounted() -> bool:
        return process.run(["umount", place], timeout_s=30, check=False).returncode == 0

    wait_until(is_unmounted, timeout_s=30, what="the small file system to be free")


def test_a_host_disk_that_fills_up_under_a_guest_ends_that_guest_alone(guests: HostFixture, small_disk: Path) -> None:
    paths = replace(guests.paths, state=small_disk / "state")
    filler = small_disk / "filler"
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 80 * 1024**2)
    with Engine(paths) as engine:
        with pytest.raises(PyroError) as caught:
            run_in_vm(
                engine,
                guests.spec(),
                GuestCommand("dd if=/dev/zero of=/root/big bs=1M count=300 conv=fsync || exit 9", timeout_s=8),
            )
        assert caught.value.code is ErrorCode.NO_SPACE
        assert "is paused: the host's disk" in caught.value.message
        assert list_vms(engine) == []
        filler.unlink()
        found = os.statvfs(small_disk)
        assert found.f_bavail > found.f_blocks * 0.9
        assert run_in_vm(engine, guests.spec(), GuestCommand("echo works")).stdout == "works\n"


def test_a_host_disk_without_room_is_an_error_before_anything_is_started(guests: HostFixture, small_disk: Path) -> None:
    with open(small_disk / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 120 * 1024**2)
    with Engine(replace(guests.paths, state=small_disk / "state")) as engine, pytest.raises(PyroError) as caught:
        run_in_vm(engine, guests.spec(), GuestCommand("true"))
    assert caught.value.code is ErrorCode.NO_SPACE
    assert str(small_disk) in caught.value.message


def fill(place: Path) -> Path:
    """Take what is free on a disk, to the last byte."""
    path = place / os.urandom(4).hex()
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    return path


def test_disks_that_are_kept_are_flushed_and_those_of_a_run_need_not_be(guests: HostFixture) -> None:
    vm = guests.started()
    assert b"no-flush" not in Path(f"/proc/{vmm_of(vm)[0]}/cmdline").read_bytes()
    seen: list[bytes] = []

    def look(_stream: object, _data: bytes) -> None:
        (record,) = [each.machine for each in guests.engine.store.vms.all()[0] if each.ephemeral]
        assert record is not None
        seen.append(Path(f"/proc/{record.vmm_pid}/cmdline").read_bytes())

    assert guests.run("echo begun", on_output=look).exit_code == 0
    assert b"cache.no-flush=on" in seen[0]


def test_on_a_full_host_disk_a_guest_pauses_and_goes_on_and_others_can_be_stopped_and_deleted(
    guests: HostFixture, small_disk: Path
) -> None:
    yard = HostFixture(replace(guests.paths, state=small_disk / "state"))
    other, workspace = yard.workspace(), yard.workspace()
    stop_workspace(yard.engine, other.id)
    yard.engine.close()
    assert (yard.paths.state / "reserve").is_dir()
    filler = fill(small_disk)
    finished: list[str] = []
    command = "dd if=/dev/zero of=/workspace/x bs=1M count=16 conv=fsync 2>/dev/null; stat -c %s /workspace/x"
    writer = threading.Thread(target=lambda: finished.append(yard.do(workspace, command, timeout_s=120)))
    writer.start()

    def paused() -> bool:
        return "is paused: the host's disk" in status_workspace(yard.engine, workspace.id).last_error

    wait_until(paused, timeout_s=60, what="the guest to be paused", interval_s=0.2)
    late = fill(small_disk)
    assert {each.id for each in list_workspaces(yard.engine)} == {other.id, workspace.id}
    delete_workspace(yard.engine, other.id)
    filler.unlink()
    late.unlink()
    writer.join(60)
    assert finished == [f"{16 * 1024**2}\n"]
    assert status_workspace(yard.engine, workspace.id).last_error == ""
    again = fill(small_disk)
    # The first pauses it, the second finds it paused and does not wait.
    for timeout_s in (3, 100):
        with pytest.raises(PyroError) as caught:
            yard.do(workspace, command.replace("/x", "/y"), timeout_s=timeout_s)
        assert caught.value.code is ErrorCode.NO_SPACE
    (vm,), _ = yard.engine.store.vms.all()
    assert vm.machine is not None
    machine = yard.engine.drivers.of(vm.machine.kind).attach(vm.machine)
    assert machine.is_paused_on_error()
    again.unlink()
    wait_until(lambda: not machine.is_paused_on_error(), timeout_s=60, what="it to continue by itself", interval_s=0.2)
    machine.close()
    fill(small_disk)
    assert stop_workspace(yard.engine, workspace.id).state is WorkspaceState.STOPPED
    delete_workspace(yard.engine, workspace.id)
    assert yard.remains() == []
    yard.close()


def test_deleting_a_vm_twice_at_once_and_while_it_runs_a_command(guests: HostFixture, others: Verbs) -> None:
    vm = guests.started()
    running = begun(others.start("exec", vm.id, SLEEP))
    deletions = [others.start("delete", vm.id) for _ in range(2)]
    outcomes = [each.wait() for each in deletions]
    assert any(each.status == 0 for each in outcomes)
    assert all(each.status == 0 or "there is no VM" in each.stderr for each in outcomes)
    assert "the guest went away" in running.wait().stderr
    with pytest.raises(PyroError):
        delete_vm(guests.engine, vm.id)
    assert guests.remains() == []
