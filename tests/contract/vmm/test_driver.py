"""What every driver promises, whichever runs the machine: the same tests, the same answers."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process.identity import tree_of
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.driver import LANES, Machine
from tests.support.machines import Bench, greet

if TYPE_CHECKING:
    from pathlib import Path

END_TIMEOUT_S = 10.0
# Within it a typed error, or the truth, must be there.
NOTICE_TIMEOUT_S = 2.0


def is_gone(machine: Machine) -> bool:
    """Say whether neither VMM nor keeper is left, nor anything below them."""
    record = machine.record
    pids = {record.vmm_pid: record.vmm_start_time, record.keeper_pid: record.keeper_start_time}
    return all(process.start_time(pid) != started for pid, started in pids.items())


def lost(machine: Machine) -> ErrorCode:
    with pytest.raises(PyroError) as caught:
        machine.transport.connect(timeout_s=NOTICE_TIMEOUT_S)
    assert caught.value.hint
    return caught.value.code


def hurt(machine: Machine, number: int, *, keeper: bool = False) -> None:
    record = machine.record
    who = (record.keeper_pid, record.keeper_start_time) if keeper else (record.vmm_pid, record.vmm_start_time)
    assert process.send_signal(*who, number)


class TestStarted:
    def test_lives_and_its_agent_answers(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            assert machine.is_alive()
            greet(machine)
            greet(machine)
            assert not machine.wait_for_end(0)

    def test_is_taken_up_by_its_record_in_any_process(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            record = from_json(MachineRecord, json.loads(json.dumps(to_json(machine.record))))
            other = bench.driver.attach(record)
            assert other.record == machine.record
            assert other.record.kind is bench.driver.kind
            assert other.record.accelerator is bench.accelerator
            assert other.is_alive()
            greet(other)
            other.kill()
            assert not machine.is_alive()

    def test_talks_on_every_lane_at_once_and_the_next_caller_is_busy(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine, ExitStack() as stack:
            sessions = [
                stack.enter_context(AgentSession.open(machine.transport, timeout_s=END_TIMEOUT_S))
                for _ in range(LANES - 1)
            ]
            for session in sessions:
                session.ping(timeout_s=60)
            with pytest.raises(PyroError) as caught:
                machine.transport.connect(timeout_s=0.1)
            assert caught.value.code is ErrorCode.BUSY
            sessions[7].close()
            greet(machine)

    def test_its_processes_hold_nothing_of_the_caller_and_are_not_in_its_session(
        self, bench: Bench, home: Path
    ) -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        with bench.started(bench.spec(home)) as machine:
            os.close(writing)
            assert os.read(reading, 1) == b""
            os.close(reading)
            assert os.getsid(machine.record.keeper_pid) == machine.record.keeper_pid
            assert os.getsid(machine.record.vmm_pid) != os.getsid(0)

    @pytest.mark.parametrize("name", ["x" * 150, "two words", "ünï©ødé ☃", "-dash", "$(id)", "a'b\"c", "line\nbreak"])
    def test_any_path_does(self, bench: Bench, tmp_path: Path, name: str) -> None:
        home = tmp_path / name
        with bench.started(bench.spec(home)) as machine:
            greet(machine)
        assert not (home / "run").exists()


class TestKilled:
    def test_leaves_no_process_and_no_runtime_directory(self, bench: Bench, home: Path) -> None:
        kept = home / "state" / "kept"
        spec = bench.spec(home)
        kept.write_bytes(b"x")
        with bench.started(spec) as machine:
            tree = tree_of(machine.record.keeper_pid)
            assert tree
            machine.kill()
            assert is_gone(machine)
            assert all(process.start_time(member.pid) != member.start_time for member in tree)
            assert not machine.is_alive()
            assert machine.wait_for_end(0)
            assert lost(machine) is ErrorCode.GUEST_LOST
            assert not spec.runtime_dir.exists()
            assert kept.exists()
            machine.kill()

    def test_can_be_started_again_in_the_same_place(self, bench: Bench, home: Path) -> None:
        spec = bench.spec(home)
        for _ in range(2):
            spec.runtime_dir.mkdir(exist_ok=True)
            with bench.started(spec) as machine:
                greet(machine)

    def test_by_anybody_is_noticed_in_time(self, bench: Bench, home: Path) -> None:
        spec = bench.spec(home)
        with bench.started(spec) as machine:
            hurt(machine, signal.SIGKILL)
            wait_until(lambda: not machine.is_alive(), timeout_s=NOTICE_TIMEOUT_S, what="the machine to be dead")
            assert machine.wait_for_end(END_TIMEOUT_S)
            assert lost(machine) is ErrorCode.GUEST_LOST
            assert not spec.runtime_dir.exists()

    def test_while_somebody_talks_gives_them_a_typed_error_in_time(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            with AgentSession.open(machine.transport, timeout_s=END_TIMEOUT_S) as session:
                session.ping(timeout_s=60)
                hurt(machine, signal.SIGKILL)
                with pytest.raises(PyroError) as caught:
                    session.ping(timeout_s=NOTICE_TIMEOUT_S)
            assert caught.value.code is ErrorCode.GUEST_LOST

    def test_even_if_it_is_stopped(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            hurt(machine, signal.SIGSTOP)
            assert machine.is_alive()
            machine.kill()
            assert is_gone(machine)

    def test_with_its_keeper(self, bench: Bench, home: Path) -> None:
        spec = bench.spec(home)
        with bench.started(spec) as machine:
            record = machine.record
            hurt(machine, signal.SIGKILL, keeper=True)
            assert process.wait_for_exit(record.vmm_pid, record.vmm_start_time, timeout_s=END_TIMEOUT_S)
            assert not machine.is_alive()
            machine.kill()
            assert is_gone(machine)
            assert not spec.runtime_dir.exists()

    def test_never_another_process_that_has_its_pid(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine, process.start(["sleep", "60"]) as bystander:
            record = machine.record
            machine.kill()
            reused = replace(
                record,
                vmm_pid=bystander.pid,
                vmm_start_time=bystander.start_time - 1,
                keeper_pid=bystander.pid,
                keeper_start_time=bystander.start_time + 1,
            )
            other = bench.driver.attach(reused)
            assert not other.is_alive()
            other.kill()
            assert bystander.poll() is None
            rebooted = replace(reused, boot_id="of another boot", vmm_start_time=bystander.start_time)
            other = bench.driver.attach(rebooted)
            assert not other.is_alive()
            assert other.wait_for_end(0)
            other.kill()
            other.shutdown(0)
            assert bystander.poll() is None


class TestShutDown:
    def test_of_a_guest_that_was_asked_to_power_off(self, bench: Bench, home: Path) -> None:
        spec = bench.spec(home)
        with bench.started(spec) as machine:
            with AgentSession.open(machine.transport, timeout_s=END_TIMEOUT_S) as session:
                session.ready(timeout_s=60)
                session.poweroff()
            assert machine.wait_for_end(END_TIMEOUT_S)
            machine.shutdown(0)
            assert is_gone(machine)
            assert not spec.runtime_dir.exists()

    def test_of_a_guest_that_was_not_asked(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            machine.shutdown(0.1)
            assert is_gone(machine)

    def test_of_one_that_is_stopped_ends_in_bounded_time(self, bench: Bench, home: Path) -> None:
        with bench.started(bench.spec(home)) as machine:
            hurt(machine, signal.SIGSTOP)
            machine.shutdown(0)
            assert is_gone(machine)

    def test_leaves_what_is_to_vanish_at_the_end_of_its_time(self, bench: Bench, home: Path) -> None:
        doomed = home / "doomed"
        doomed.mkdir()
        with bench.started(bench.spec(home, remove_at_ttl=[doomed])) as machine:
            machine.shutdown(0)
            assert is_gone(machine)
            assert doomed.exists()


class TestTimeToLive:
    def test_ends_the_machine_and_its_files_although_nobody_watches(self, bench: Bench, home: Path) -> None:
        doomed = home / "doomed"
        doomed.mkdir()
        (doomed / "disk").write_bytes(b"x")
        spec = bench.spec(home, ttl_s=2, remove_at_ttl=[doomed])
        with bench.started(spec) as machine:
            assert machine.wait_for_end(30)
            wait_until(lambda: not doomed.exists(), timeout_s=30, what="the disk to vanish")
            assert is_gone(machine)
            assert not spec.runtime_dir.exists()
            assert spec.state_dir.exists()

    def test_goes_on_for_the_files_of_a_machine_that_has_ended(self, bench: Bench, home: Path) -> None:
        doomed = home / "doomed"
        doomed.mkdir()
        with bench.started(bench.spec(home, ttl_s=2, remove_at_ttl=[doomed])) as machine:
            machine.shutdown(0)
            assert doomed.exists()
            wait_until(lambda: not doomed.exists(), timeout_s=30, what="the disk to vanish")


class TestRefused:
    def test_where_a_machine_is_already_and_that_one_goes_on(self, bench: Bench, home: Path) -> None:
        spec = bench.spec(home)
        with bench.started(spec) as machine:
            with pytest.raises(PyroError) as caught:
                bench.start(replace(spec, remove_at_end=()))
            assert caught.value.code is ErrorCode.CONFLICT
            greet(machine)

    def test_where_a_path_to_be_removed_is_not_plain(self, bench: Bench, home: Path) -> None:
        spec = replace(bench.spec(home), remove_at_end=(home / ".." / "x",))
        with pytest.raises(PyroError) as caught:
            bench.start(spec)
        assert caught.value.code is ErrorCode.INVALID

    def test_where_its_state_directory_is_missing(self, bench: Bench, home: Path) -> None:
        spec = replace(bench.spec(home), state_dir=home / "absent")
        with pytest.raises(PyroError) as caught:
            bench.start(spec)
        assert caught.value.code is ErrorCode.NOT_FOUND

    def test_where_a_program_is_missing_with_the_command_that_installs_it(
        self, bench: Bench, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pyro_mcp.host.programs.search_path", lambda: [str(home)])
        with pytest.raises(PyroError) as caught:
            bench.start(bench.spec(home))
        assert caught.value.code is ErrorCode.MISSING_PROGRAM
        assert "install" in caught.value.hint.lower()


def test_a_machine_outlives_the_process_that_started_it(compat_bench: Bench, home: Path) -> None:
    # With QEMU the same keeper does the same; another process would have to make a template of its own.
    code = (
        "import json, sys; from pathlib import Path; from tests.support.machines import Bench;"
        "from pyro_mcp.model.kinds import Accelerator; from pyro_mcp.model.codec import to_json;"
        "from pyro_mcp.vmm.compat.driver import CompatDriver;"
        "b = Bench(CompatDriver(), Accelerator.NONE);"
        "print(json.dumps(to_json(b.start(b.spec(Path(sys.argv[1]))).record)), flush=True);"
        "import os; os.kill(os.getpid(), 9)"
    )
    with process.start([sys.executable, "-c", code, str(home)], stdout=process.PIPE) as starter:
        assert starter.stdout is not None
        with open(os.dup(starter.stdout)) as output:
            record = from_json(MachineRecord, json.loads(output.readline()))
        assert starter.wait(30) == -signal.SIGKILL
    machine = compat_bench.driver.attach(record)
    assert machine.is_alive()
    greet(machine)
    machine.kill()
    assert is_gone(machine)
