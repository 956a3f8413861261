"""Several processes at one VM, and processes that are interrupted (faults 7, 21, 22, 23, 26, 34)."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import VmState
from pyro_mcp.state.clock import Clock
from pyro_mcp.state.discard import end_machine
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.vms.create import create_vm
from pyro_mcp.workspace.vms.delete import delete_vm, reap_expired
from pyro_mcp.workspace.vms.run import exec_vm, run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms, status_vm
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.one_verb import DESCRIPTORS_VARIABLE, INTERRUPTED, Running, Verbs, verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.model.vm import Vm
    from tests.support.host_fixture import HostFixture

SLEEP = "echo begun; sleep 600"
# For what takes milliseconds on an idle machine.
PATIENCE_S = 90.0


@pytest.fixture
def others(tmp_path: Path, yard: HostFixture) -> Generator[Verbs]:
    list_vms(yard.engine)
    with verbs(tmp_path) as others:
        yield others


def begun(running: Running) -> Running:
    """Wait until the command that the process runs has begun."""
    wait_until(lambda: "begun" in running.stdout(), timeout_s=PATIENCE_S, what="the command to begin")
    return running


def test_a_vm_started_by_one_process_runs_the_command_of_another(yard: HostFixture, others: Verbs) -> None:
    vm = yard.started()
    done = others.run("exec", vm.id, "echo from elsewhere")
    assert (done.status, done.stdout) == (0, "from elsewhere\n")
    assert yard.remains() == []


def test_a_second_command_beside_the_first_is_refused_and_harms_nothing(yard: HostFixture, others: Verbs) -> None:
    vm = yard.started()
    running = begun(others.start("exec", vm.id, SLEEP))
    with pytest.raises(PyroError, match="already runs its command") as caught:
        yard.exec(vm)
    assert caught.value.code is ErrorCode.BUSY
    running.interrupt()
    assert running.wait().status == INTERRUPTED
    assert yard.remains() == []


@pytest.mark.parametrize("verb", [delete_vm, stop_vm])
def test_a_command_whose_vm_is_taken_away_ends_with_a_typed_error(
    yard: HostFixture, others: Verbs, verb: Callable[[Engine, str], object]
) -> None:
    vm = yard.started()
    running = begun(others.start("exec", vm.id, SLEEP))
    verb(yard.engine, vm.id)
    done = running.wait()
    assert done.status == 1
    assert "GuestLostError" in done.stderr
    assert "has no result: the guest went away" in done.stderr
    assert yard.remains() == []


def test_a_machine_that_is_killed_in_a_command_is_a_typed_error_and_leaves_nothing(
    yard: HostFixture, others: Verbs
) -> None:
    vm = yard.started()
    running = begun(others.start("exec", vm.id, SLEEP))
    assert vm.machine is not None
    process.kill(vm.machine.vmm_pid, vm.machine.vmm_start_time)
    assert "the guest went away" in running.wait().stderr
    assert yard.remains() == []


def test_a_machine_that_is_killed_idle_shows_as_stopped_and_keeps_its_disk(yard: HostFixture) -> None:
    vm = yard.started()
    assert vm.machine is not None
    process.kill(vm.machine.vmm_pid, vm.machine.vmm_start_time)
    lost = status_vm(yard.engine, vm.id)
    assert (lost.state, lost.stop_reason) == (VmState.STOPPED, StopReason.LOST)
    assert start_vm(yard.engine, vm.id).state is VmState.STARTED
    yard.exec(vm)
    assert yard.remains() == []


def test_a_machine_that_stands_still_is_stopped_by_the_end_of_the_ladder(yard: HostFixture) -> None:
    vm = yard.started()
    assert vm.machine is not None
    process.send_signal(vm.machine.vmm_pid, vm.machine.vmm_start_time, signal.SIGSTOP)
    delete_vm(yard.engine, vm.id)
    assert yard.remains() == []


def test_two_deletions_at_once_both_succeed(yard: HostFixture) -> None:
    vm = yard.started()
    engines = [yard.another_engine() for _ in range(3)]
    errors: list[PyroError] = []

    def delete(engine: Engine) -> None:
        try:
            delete_vm(engine, vm.id)
        except PyroError as error:
            errors.append(error)

    threads = [threading.Thread(target=delete, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One that came when it was over finds nothing, and says so.
    assert {error.code for error in errors} <= {ErrorCode.NOT_FOUND}
    assert len(errors) < 3
    assert yard.remains() == []


def test_two_starts_of_one_vm_at_once_start_it_once(yard: HostFixture) -> None:
    yard.run()
    vm = yard.create()
    engines = [yard.another_engine() for _ in range(3)]
    started: list[Vm] = []

    def start(engine: Engine) -> None:
        started.append(start_vm(engine, vm.id))

    threads = [threading.Thread(target=start, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.machine.vmm_pid for each in started if each.machine}) == 1
    assert yard.fakes.fake.calls.count("restore") == 2
    yard.exec(vm)
    assert yard.remains() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_takes_its_vm_along(yard: HostFixture, others: Verbs, number: int) -> None:
    running = begun(others.start("run", "", SLEEP))
    running.interrupt(number)
    assert running.wait().status == INTERRUPTED
    assert yard.remains() == []


POINTS = [
    "passing.recorded", "launch.directories", "disk.copied", "vmm.after_keeper", "vmm.after_start", "launch.restored",
    "passing.machine_recorded", "run.ended", "delete.marked", "delete.ended", "delete.removed",
]  # fmt: skip
MAKING_POINTS = ["template.staged", "boot.machine_started", "boot.prepared", "template.saved", "template.sealed"]


@pytest.mark.parametrize("point", MAKING_POINTS)
def test_an_interrupt_while_a_template_is_made_leaves_nothing(
    cold_yard: HostFixture, tmp_path: Path, point: str
) -> None:
    with verbs(tmp_path) as others:
        test_an_interrupt_in_any_phase_leaves_nothing(cold_yard, others, point)


@pytest.mark.parametrize("point", POINTS)
def test_an_interrupt_in_any_phase_leaves_nothing(yard: HostFixture, others: Verbs, point: str) -> None:
    # It stops itself at the point, so that the signal surely finds it there.
    running = others.start("run", env={"PYRO_FAULT_POINT": f"{point}:stop"})
    wait_until(lambda: _is_stopped(running.pid), timeout_s=PATIENCE_S, what=f"the run to come to {point}")
    running.interrupt()
    process.send_signal(running.pid, running.start_time, signal.SIGCONT)
    assert running.wait().status == INTERRUPTED
    assert yard.remains() == []
    assert yard.run("echo works").stdout == "works\n"


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_a_cancelled_command_takes_its_vm_along(yard: HostFixture) -> None:
    token = CancelToken()

    def cancel(_stream: object, _data: bytes) -> None:
        token.cancel()

    with pytest.raises(PyroError) as caught:
        yard.run(SLEEP, cancel=token, on_output=cancel)
    assert caught.value.code is ErrorCode.CANCELLED
    assert yard.remains() == []


def test_a_run_that_is_called_off_before_it_begins_makes_nothing(yard: HostFixture) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(PyroError) as caught:
        yard.run(cancel=token)
    assert caught.value.code is ErrorCode.CANCELLED
    assert yard.fakes.fake.calls == []
    assert yard.remains() == []


def test_a_command_past_its_timeout_is_a_result(yard: HostFixture) -> None:
    result = run_in_vm(yard.engine, yard.spec(), GuestCommand("echo before; sleep 600", timeout_s=1))
    assert result.timed_out
    assert result.stdout == "before\n"
    assert yard.remains() == []


def test_a_vm_whose_time_is_up_in_a_command_says_so(yard: HostFixture) -> None:
    with pytest.raises(PyroError, match="2 seconds, ran out while the command ran") as caught:
        run_in_vm(yard.engine, yard.spec(ttl_s=2), GuestCommand(SLEEP))
    assert caught.value.code is ErrorCode.TIMEOUT
    assert yard.remains() == []


def test_a_vm_whose_time_is_up_is_dead_and_its_disk_gone_although_nobody_looks(yard: HostFixture) -> None:
    yard.run()
    running, stopped = yard.started(ttl_s=2), yard.started(ttl_s=2)
    stop_vm(yard.engine, stopped.id)
    for vm in (running, stopped):
        wait_until(
            lambda vm=vm: not yard.files(vm).directory.exists(),
            timeout_s=PATIENCE_S,
            what="the disk to go without being asked",
        )
    wait_until(lambda: yard.processes() == [], timeout_s=PATIENCE_S, what="its processes to end")
    assert sorted(reap_expired(yard.engine)) == sorted([running.id, stopped.id])
    assert yard.remains() == []


def test_a_vm_whose_time_is_up_is_not_found_by_any_verb(yard: HostFixture) -> None:
    vm = yard.started()
    now = Clock().boottime_s()
    yard.engine.clock = replace(Clock(), boottime_s=lambda: now + 601)
    for verb in (start_vm, stop_vm, status_vm):
        with pytest.raises(PyroError) as caught:
            verb(yard.engine, vm.id)
        assert caught.value.code is ErrorCode.NOT_FOUND
    assert yard.remains() == []


def test_after_a_reboot_a_started_vm_is_stopped_and_starts_again(yard: HostFixture) -> None:
    vm = yard.started()
    assert vm.machine is not None
    end_machine(vm.id, vm.machine, keeps_disk=True)
    earlier = replace(vm.machine, boot_id="00000000-0000-0000-0000-000000000000")
    yard.engine.store.vms.update(vm.id, lambda now: replace(now, machine=earlier))
    found = status_vm(yard.engine, vm.id)
    assert (found.state, found.stop_reason) == (VmState.STOPPED, StopReason.HOST_REBOOT)
    assert start_vm(yard.engine, vm.id).state is VmState.STARTED
    yard.exec(vm)
    # A reboot would have ended what waits for the end of the first lease.
    process.kill(*vm.machine.remover, tree=True)


def test_a_database_that_is_lost_under_a_running_vm_loses_nothing(yard: HostFixture, others: Verbs) -> None:
    vm = yard.started()
    for suffix in ("", "-wal", "-shm"):
        os.truncate(f"{yard.paths.database}{suffix}", 5000 if not suffix else 0)
    yard.engine.close()
    assert status_vm(yard.engine, vm.id) == vm
    assert any("is restored" in notice for notice in yard.said.notices)
    assert others.run("exec", vm.id, "echo still here").stdout == "still here\n"
    assert yard.remains() == []


def test_a_read_only_state_directory_is_an_error_with_a_remedy(yard: HostFixture, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    paths = replace(yard.paths, state=blocked / "state")
    with Engine(paths, drivers=yard.drivers) as engine, pytest.raises(PyroError) as caught:
        run_in_vm(engine, yard.spec(), GuestCommand("true"))
    assert "PYRO_STATE_DIR" in caught.value.hint


def test_directories_with_spaces_unicode_and_great_length_work(yard: HostFixture, tmp_path: Path) -> None:
    deep = tmp_path / "a b" / "ünïcode" / ("long" * 30)
    paths = replace(yard.paths, state=deep / "state", runtime=deep / "run")
    with Engine(paths, drivers=yard.drivers) as engine:
        assert run_in_vm(engine, yard.spec(), GuestCommand("echo fine")).stdout == "fine\n"
        vm = start_vm(engine, create_vm(engine, yard.spec()).id)
        assert exec_vm(engine, vm.id, GuestCommand("echo fine")).stdout == "fine\n"
        assert list_vms(engine) == []


def test_a_process_short_of_descriptors_says_so_and_leaves_nothing(yard: HostFixture, others: Verbs) -> None:
    outcomes = [others.run("run", **{DESCRIPTORS_VARIABLE: str(limit)}) for limit in range(6, 46, 2)]
    for outcome in outcomes:
        assert outcome.status == 0 or "Too many open files" in outcome.stderr.splitlines()[-1], outcome.stderr
    assert outcomes[-1].status == 0
    list_vms(yard.engine)
    assert yard.remains() == []


def test_twenty_lives_leave_descriptors_threads_and_files_as_they_were(yard: HostFixture) -> None:
    yard.run()

    def held() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(list(yard.paths.state.rglob("*")))

    before = held()
    for _ in range(10):
        yard.run()
        yard.exec(yard.started())
    assert held() == before
    assert yard.remains() == []
