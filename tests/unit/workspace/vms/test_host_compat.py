"""The same verbs on the host itself, through the real driver for that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.host.process.identity import ProcessIdentity
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.model.states import VmState
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.vms.create import create_vm
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.run import exec_vm, run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    forget_hits()
    monkeypatch.setenv("PYRO_VMM", "none")
    yard = HostFixture(private_paths)
    yield yard
    yard.close()


def started(host: HostFixture, **changes: int) -> Vm:
    vm = create_vm(host.engine, host.spec(allow_host_compat=True, **changes))
    return start_vm(host.engine, vm.id)


def test_a_run_says_that_nothing_isolated_it_and_leaves_nothing(host: HostFixture) -> None:
    result = run_in_vm(host.engine, host.spec(allow_host_compat=True), GuestCommand("echo $((6 * 7)); touch file; pwd"))
    assert (result.execution_mode, result.isolation) == (ExecutionMode.HOST_COMPAT, Isolation.NONE)
    answer, directory = result.stdout.splitlines()
    assert answer == "42"
    assert not os.path.exists(directory)
    assert host.remains() == []


def test_without_the_flag_nothing_runs(host: HostFixture) -> None:
    with pytest.raises(PyroError, match="PYRO_VMM=none") as caught:
        run_in_vm(host.engine, host.spec(), GuestCommand("true"))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert host.remains() == []


def test_what_was_written_before_a_stop_is_there_after_the_next_start(host: HostFixture) -> None:
    vm = started(host)
    host.inside(vm, "echo kept > file")
    assert stop_vm(host.engine, vm.id).state is VmState.STOPPED
    again = start_vm(host.engine, vm.id)
    assert exec_vm(host.engine, vm.id, GuestCommand("cat file")).stdout == "kept\n"
    assert again.execution_mode is ExecutionMode.HOST_COMPAT
    assert host.remains() == []


def test_a_deletion_ends_what_a_command_left_running(host: HostFixture) -> None:
    vm = started(host)
    child = ProcessIdentity.of(int(host.inside(vm, "sleep 600 >/dev/null 2>&1 & echo $!")))
    assert child is not None
    delete_vm(host.engine, vm.id)
    wait_until(lambda: not child.is_running(), timeout_s=30, what="the command's child to end")
    assert host.remains() == []


def test_its_time_to_live_holds_although_nobody_looks(host: HostFixture) -> None:
    vm = started(host, ttl_s=2)
    wait_until(lambda: not host.files(vm).directory.exists(), timeout_s=60, what="the directory to go unasked")
    wait_until(lambda: host.processes() == [], timeout_s=30, what="its processes to end")
