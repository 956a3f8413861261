"""Whatever was killed, lost or left, the next operation puts the store right, and touches nobody else's (fault 22)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.host.process import ProcessIdentity, boot_id
from pyro_mcp.host.process.identity import ProcessStat, tree_of
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import Accelerator, StopReason, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Owner, Vm
from pyro_mcp.state.clock import Clock, system_clock
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.discard import end_machine
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.locks import vm_lock
from pyro_mcp.state.quarantine import quarantined
from pyro_mcp.state.reconcile import Verdict, judge, reconcile
from pyro_mcp.state.store import Store, is_alive, this_process
from pyro_mcp.vmm.keeper import start_keeper, start_remover
from tests.support.vms import a_vm

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from pyro_mcp.host.paths import Paths

DEAD = Owner(2**22 + 1, 1, boot_id())
OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


@dataclass
class House:
    """A store, its directories, and how to furnish them."""

    paths: Paths
    store: Store
    notices: list[str]
    clock: Clock
    watched: list[str] = field(default_factory=list[str])

    def reconcile(self) -> list[str]:
        return reconcile(
            self.store, self.paths, self.clock, self.notices.append, lambda _, vm: self.watched.append(vm.id)
        )

    def vm(self, *, files: bool = False, **changes: Any) -> Vm:
        vm = self.store.vms.insert(a_vm(**changes))
        if files:
            self.furnish(vm)
        return vm

    def furnish(self, vm: Vm) -> VmFiles:
        own = VmFiles(self.paths, vm.id)
        own.directory.mkdir(parents=True)
        own.runtime.mkdir(parents=True)
        own.root_disk.write_bytes(b"disk")
        (own.runtime / "l0").write_bytes(b"stale")
        return own

    def find(self, vm: Vm) -> Vm | None:
        return self.store.vms.find(vm.id)

    def is_gone(self, vm: Vm) -> bool:
        own = VmFiles(self.paths, vm.id)
        return self.find(vm) is None and not own.directory.exists() and not own.runtime.exists()

    def run(self, vm: Vm, **changes: Any) -> MachineRecord:
        """Give the VM processes: a keeper with a sleep as its VMM, and a remover."""
        own = self.furnish(vm)
        keeper = start_keeper(["sleep", "600"], console=own.console_log, ttl_s=600, remove=[own.runtime], pass_fds=())
        remover = start_remover([own.directory], after_s=600)
        vmm = wait_until(lambda: sleeper_below(keeper.pid), timeout_s=10, what="the keeper to start its command")
        machine = MachineRecord(
            VmmKind.QEMU, Accelerator.TCG, boot_id(), str(own.runtime),
            keeper.pid, keeper.start_time, vmm.pid, vmm.start_time,
            {"remover_pid": remover.pid, "remover_start_time": remover.start_time},
        )  # fmt: skip
        keeper.close()
        remover.close()
        machine = replace(machine, **changes)
        self.store.vms.update(vm.id, lambda now: replace(now, machine=machine))
        return machine


@pytest.fixture
def house(private_paths: Paths) -> Generator[House]:
    forget_hits()
    notices: list[str] = []
    with Store(private_paths, notices.append) as store:
        yield House(private_paths, store, notices, system_clock())


def sleeper_below(keeper_pid: int) -> ProcessStat | None:
    """Return the process that stands for the VMM."""
    return next((each for each in tree_of(keeper_pid) if each.name == "sleep"), None)


def runs(machine: MachineRecord) -> bool:
    processes = [
        (machine.vmm_pid, machine.vmm_start_time),
        (machine.keeper_pid, machine.keeper_start_time),
        machine.remover,
    ]
    return any(ProcessIdentity(*each, machine.boot_id).is_running() for each in processes)


def test_with_nothing_to_do_nothing_is_done(house: House) -> None:
    created, stopped = house.vm(), house.vm(state=VmState.STOPPED, stop_reason=StopReason.USER, files=True)
    assert house.reconcile() == []
    assert house.find(created) == created
    assert house.find(stopped) == stopped
    assert house.notices == []


@pytest.mark.parametrize("state", [VmState.CREATING, VmState.DELETING])
def test_a_vm_whose_creator_or_deleter_died_is_gone_with_its_files(house: House, state: VmState) -> None:
    vm = house.vm(state=state, owner=DEAD, files=True)
    assert house.reconcile() == [vm.id]
    assert house.is_gone(vm)


def test_a_vm_on_which_a_living_process_works_is_left_to_it(house: House) -> None:
    for state in (VmState.CREATING, VmState.STARTING, VmState.STARTED, VmState.STOPPING, VmState.DELETING):
        vm = house.vm(state=state, owner=this_process(), files=True)
        assert house.reconcile() == []
        assert house.find(vm) == vm


def test_a_reused_pid_is_not_taken_for_the_owner(house: House) -> None:
    mine = this_process()
    vm = house.vm(state=VmState.CREATING, owner=replace(mine, start_time=mine.start_time - 1))
    assert house.reconcile() == [vm.id]


def test_an_owner_of_an_earlier_boot_is_dead(house: House) -> None:
    vm = house.vm(state=VmState.CREATING, owner=replace(this_process(), boot_id=OTHER_BOOT))
    assert house.reconcile() == [vm.id]


def test_a_start_that_was_cut_off_is_undone_and_its_machine_found_by_the_vms_id(house: House) -> None:
    vm = house.vm(state=VmState.STARTING, owner=DEAD)
    machine = house.run(vm)
    house.store.vms.update(vm.id, lambda now: replace(now, machine=None))
    assert house.reconcile() == []
    found = house.find(vm)
    assert found is not None
    assert (found.state, found.owner) == (VmState.CREATED, None)
    assert not runs(machine)
    assert not VmFiles(house.paths, vm.id).directory.exists()
    assert not VmFiles(house.paths, vm.id).runtime.exists()


def test_a_second_start_that_was_cut_off_leaves_the_vm_stopped_with_its_disk(house: House) -> None:
    vm = house.vm(state=VmState.STARTING, stop_reason=StopReason.USER, owner=DEAD, files=True)
    remover = start_remover([VmFiles(house.paths, vm.id).directory], after_s=600)
    facts = {"remover_pid": remover.pid, "remover_start_time": remover.start_time}
    before = MachineRecord(VmmKind.QEMU, Accelerator.TCG, boot_id(), "/x", DEAD.pid, 1, DEAD.pid, 1, facts)
    house.store.vms.update(vm.id, lambda now: replace(now, machine=before))
    house.reconcile()
    found = house.find(vm)
    assert found is not None
    assert found.state is VmState.STOPPED
    assert VmFiles(house.paths, vm.id).root_disk.exists()
    assert remover.poll() is None, "the disk must not outlive the lease"
    remover.kill()
    remover.close()


def test_a_stop_that_was_cut_off_is_finished(house: House) -> None:
    vm = house.vm(state=VmState.STOPPING, owner=DEAD)
    machine = house.run(vm)
    house.reconcile()
    found = house.find(vm)
    assert found is not None
    assert (found.state, found.stop_reason) == (VmState.STOPPED, StopReason.USER)
    assert not runs(replace(machine, facts={}))
    assert ProcessIdentity(*machine.remover, boot_id()).is_running(), "the disk must not outlive the lease"
    end_machine("", machine)


def test_a_vm_whose_one_command_was_cut_off_is_gone_with_its_processes(house: House) -> None:
    vm = house.vm(state=VmState.STARTED, owner=DEAD)
    machine = house.run(vm)
    assert house.reconcile() == [vm.id]
    assert house.is_gone(vm)
    assert not runs(machine)


@pytest.mark.parametrize("state", [VmState.STARTING, VmState.STARTED, VmState.CREATING])
def test_a_run_whose_caller_died_is_gone_in_every_state(house: House, state: VmState) -> None:
    vm = house.vm(state=state, ephemeral=True, owner=DEAD, files=True)
    assert house.reconcile() == [vm.id]
    assert house.is_gone(vm)


def test_a_vm_whose_guest_ended_by_itself_is_stopped_with_its_last_words_and_its_disk(house: House) -> None:
    gone = MachineRecord(VmmKind.QEMU, Accelerator.TCG, boot_id(), "/x", DEAD.pid, 1, DEAD.pid, 1)
    vm = house.vm(state=VmState.STARTED, machine=gone, files=True)
    VmFiles(house.paths, vm.id).console_log.write_text("Kernel panic - not syncing\n")
    house.reconcile()
    found = house.find(vm)
    assert found is not None
    assert (found.state, found.stop_reason) == (VmState.STOPPED, StopReason.LOST)
    assert found.last_error.endswith("Kernel panic - not syncing")
    assert VmFiles(house.paths, vm.id).root_disk.exists()


def test_after_a_reboot_a_started_vm_is_stopped_and_no_process_is_touched(house: House) -> None:
    vm = house.vm(state=VmState.STARTED)
    machine = house.run(vm, boot_id=OTHER_BOOT)
    house.reconcile()
    found = house.find(vm)
    assert found is not None
    assert (found.state, found.stop_reason) == (VmState.STOPPED, StopReason.HOST_REBOOT)
    survivor = replace(machine, boot_id=boot_id())
    assert runs(survivor)
    end_machine("", survivor)


def test_a_pid_that_belongs_to_somebody_else_by_now_is_not_touched(house: House) -> None:
    with process.start(["sleep", "600"]) as bystander:
        machine = MachineRecord(
            VmmKind.QEMU, Accelerator.TCG, boot_id(), "/x", bystander.pid, bystander.start_time - 1,
            bystander.pid, bystander.start_time - 1,
        )  # fmt: skip
        vm = house.vm(state=VmState.STARTED, machine=machine, owner=DEAD, files=True)
        assert house.reconcile() == [vm.id]
        assert house.is_gone(vm)
        assert bystander.poll() is None


@pytest.mark.parametrize("state", [VmState.CREATED, VmState.STARTED, VmState.STOPPED, VmState.FAILED])
def test_a_vm_whose_time_is_up_is_gone_with_its_disk(house: House, state: VmState) -> None:
    lease = system_clock().lease(600)
    vm = house.vm(state=state, lease=replace(lease, expires_boottime_s=lease.expires_boottime_s - 601))
    machine = house.run(vm)
    assert house.reconcile() == [vm.id]
    assert house.is_gone(vm)
    assert not runs(machine)


def test_what_another_process_holds_locked_is_left_for_the_next_time(house: House) -> None:
    vm = house.vm(state=VmState.CREATING, owner=DEAD, files=True)
    with vm_lock(house.paths, vm.id):
        assert house.reconcile() == []
        assert house.find(vm) == vm
    assert house.reconcile() == [vm.id]
    assert house.notices == []


def test_files_without_a_row_are_removed_with_the_processes_that_belong_to_them(house: House) -> None:
    vm = house.vm(state=VmState.STARTING, owner=DEAD)
    machine = house.run(vm)
    house.store.vms.delete(vm.id)
    house.reconcile()
    assert house.is_gone(vm)
    assert not runs(machine)


def test_files_without_a_row_that_another_process_works_on_are_left_alone(house: House) -> None:
    own = house.furnish(a_vm())
    with vm_lock(house.paths, own.vm_id):
        house.reconcile()
        assert own.root_disk.exists()


def test_names_that_are_not_ours_are_left_alone(house: House) -> None:
    for place in (house.paths.vms, house.paths.runtime_vms):
        place.mkdir(parents=True)
        (place / "vm_not-an-id").mkdir()
        (place / "notes.txt").write_text("mine")
    house.reconcile()
    for place in (house.paths.vms, house.paths.runtime_vms):
        assert sorted(os.listdir(place)) == ["notes.txt", "vm_not-an-id"]


def test_after_the_database_is_lost_what_runs_is_taken_up_again_and_the_rest_removed(house: House) -> None:
    running, stopped, half = house.vm(), house.vm(), house.vm()
    machine = house.run(running)
    house.furnish(stopped)
    house.furnish(half).unfinished.touch()
    kept = [
        replace(running, state=VmState.STARTED, machine=machine),
        replace(stopped, state=VmState.STOPPED, stop_reason=StopReason.USER),
    ]
    for vm in kept:
        write_copy(VmFiles(house.paths, vm.id), vm)
    os.truncate(house.paths.database, 1000)
    with Store(house.paths, house.notices.append) as store:
        assert replace(house, store=store).reconcile() == []
        assert store.vms.all() == (kept, [])
    assert not VmFiles(house.paths, half.id).directory.exists()
    assert len(house.notices) == 3
    end_machine("", machine)


def test_a_copy_that_names_another_vm_or_is_damaged_is_not_believed(house: House) -> None:
    impostor, damaged = a_vm(), a_vm()
    write_copy(house.furnish(impostor), a_vm(state=VmState.STOPPED))
    house.furnish(damaged).record.write_text("{]")
    house.reconcile()
    assert house.store.vms.all() == ([], [])
    assert house.is_gone(impostor)
    assert house.is_gone(damaged)
    # They may have been VMs with work in them.
    assert [(aside / "root.img").read_bytes() for aside in quarantined(house.paths)] == [b"disk"] * 2


def test_a_damaged_record_of_a_vm_is_restored_from_its_copy(house: House) -> None:
    vm = house.vm(files=True)
    kept = replace(vm, state=VmState.STOPPED, stop_reason=StopReason.USER)
    write_copy(VmFiles(house.paths, vm.id), kept)
    house.store.vms._database.write(  # pyright: ignore[reportPrivateUsage]
        lambda connection: connection.execute("UPDATE vms SET created_at = 1e308 WHERE id = ?", (vm.id,))
    )
    house.reconcile()
    assert house.store.vms.all() == ([kept], [])


def test_a_damaged_record_is_dropped_with_what_it_left(house: House) -> None:
    vm, good = house.vm(files=True), house.vm()
    house.store.vms._database.write(  # pyright: ignore[reportPrivateUsage]
        lambda connection: connection.execute("UPDATE vms SET state = 'x' WHERE id = ?", (vm.id,))
    )
    house.reconcile()
    assert house.store.vms.all() == ([good], [])
    assert not VmFiles(house.paths, vm.id).directory.exists()
    assert vm.id in house.notices[0]


def test_one_vm_that_resists_keeps_nobody_from_looking_after_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (house.vm(state=VmState.CREATING, owner=DEAD, files=True) for _ in range(2))
    monkeypatch.setenv("PYRO_FAULT_POINT", "delete.ended:raise")
    assert house.reconcile() == [second.id]
    assert first.id in house.notices[0]
    monkeypatch.delenv("PYRO_FAULT_POINT")
    assert house.reconcile() == [first.id]
    assert house.is_gone(first)


@pytest.mark.parametrize("point", ["delete.marked", "delete.ended", "delete.half_removed", "delete.removed"])
def test_a_deletion_that_was_cut_off_anywhere_is_finished(
    house: House, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    vm = house.vm(state=VmState.STARTED, owner=DEAD)
    machine = house.run(vm)
    monkeypatch.setenv("PYRO_FAULT_POINT", f"{point}:raise")
    assert house.reconcile() == []
    monkeypatch.delenv("PYRO_FAULT_POINT")
    forget_hits()
    assert house.reconcile() == [vm.id]
    assert house.is_gone(vm)
    assert not runs(machine)


def test_what_a_killed_process_was_staging_is_swept(house: House) -> None:
    house.paths.tmp.mkdir(parents=True)
    (house.paths.tmp / "0123456789abcdef").mkdir()
    house.reconcile()
    assert os.listdir(house.paths.tmp) == []


def test_every_state_gets_a_verdict_whoever_lives(house: House) -> None:
    for state in VmState:
        for owner in (None, DEAD, this_process()):
            for ephemeral in (False, True):
                vm = a_vm(state=state, owner=owner, ephemeral=ephemeral)
                verdict = judge(vm, house.clock, is_alive=is_alive, is_running=lambda _: True)
                assert isinstance(verdict, Verdict)
                assert (verdict is Verdict.LEAVE) or not (owner and is_alive(owner))


def test_ids_of_files_can_not_lead_elsewhere(house: House) -> None:
    assert VmFiles(house.paths, new_vm_id()).directory.parent == house.paths.vms
