"""`kill -9` of the caller at every step: the next list puts all right, and the same command works (faults 1, 2, 4, 5).

Each verb is run once to learn the points it passes, then once for each point, dying there: `make test-all` takes every
point, `make test` a few of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import Vm
from pyro_mcp.workspace.machines.ephemeral import delete_if_there
from pyro_mcp.workspace.machines.templates import keep_recent
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.one_verb import Verbs, verbs
from tests.support.thorough import points_of, sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from pathlib import Path

    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def others(tmp_path: Path, yard: HostFixture) -> Generator[Verbs]:
    list_vms(yard.engine)
    with verbs(tmp_path) as others:
        yield others


@pytest.fixture
def cold_others(tmp_path: Path, cold_yard: HostFixture) -> Generator[Verbs]:
    list_vms(cold_yard.engine)
    with verbs(tmp_path) as others:
        yield others


def killed_at(others: Verbs, point: str, *arguments: str) -> None:
    done = others.run(*arguments, PYRO_FAULT_POINT=point)
    assert done.status is None, f"{point}: {done}"


def assert_the_next_list_puts_all_right(yard: HostFixture, *, but: Collection[tuple[str, VmState]] = ()) -> None:
    """Be the oracle: list once, then look for what is left."""
    vms = {(vm.id, vm.state) for vm in list_vms(yard.engine)}
    assert vms <= set(but), f"{vms} instead of {but}"
    if not vms:
        assert yard.remains() == []


def every_point(
    yard: HostFixture,
    others: Verbs,
    tmp_path: Path,
    name: str,
    before: Callable[[], Vm],
    after: Callable[[str, Vm], None],
) -> None:
    vm = before()
    points = points_of(others, tmp_path, name, vm.id)
    delete_if_there(yard.engine, vm.id)
    assert len(points) > 2
    for point in sampled(points):
        vm = before()
        killed_at(others, point, name, vm.id)
        after(point, vm)


def test_run_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    yard.run()
    for point in sampled(points_of(others, tmp_path, "run")):
        killed_at(others, point, "run")
        assert_the_next_list_puts_all_right(yard)
        assert yard.run("echo again").stdout == "again\n", point


def test_template_making_can_be_killed_anywhere(cold_yard: HostFixture, cold_others: Verbs, tmp_path: Path) -> None:
    yard, others = cold_yard, cold_others
    making = points_of(others, tmp_path, "run")
    plain = points_of(others, tmp_path, "run")
    own = [point for point in making if point not in plain]
    assert {"template.staged:kill:1", "template.sealed:kill:1", "template.published:kill:1"} <= set(own)
    for point in sampled(own):
        keep_recent(yard.paths, keep=0)
        assert os.listdir(yard.paths.templates) == []
        killed_at(others, point, "run")
        assert_the_next_list_puts_all_right(yard)
        assert others.run("run").status == 0, point
        assert_the_next_list_puts_all_right(yard)
        assert len(os.listdir(yard.paths.templates)) == 1, point


def test_create_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    for point in sampled(points_of(others, tmp_path, "create")):
        before = len(list_vms(yard.engine))
        killed_at(others, point, "create")
        vms = list_vms(yard.engine)
        # A record that nobody was told of, without disk or process, goes with its lease.
        assert {vm.state for vm in vms} == {VmState.CREATED}
        assert len(vms) in {before, before + 1}, point
        assert yard.processes() == []
        assert others.run("create").status == 0, point


def test_start_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    yard.run()

    def after(point: str, vm: Vm) -> None:
        assert_the_next_list_puts_all_right(yard, but={(vm.id, VmState.CREATED), (vm.id, VmState.STARTED)})
        assert start_vm(yard.engine, vm.id).state is VmState.STARTED, point
        assert yard.exec(vm, "echo works").stdout == "works\n", point
        assert yard.remains() == [], point

    every_point(yard, others, tmp_path, "start", yard.create, after)


def test_a_second_start_can_be_killed_anywhere_and_the_disk_stays(
    yard: HostFixture, others: Verbs, tmp_path: Path
) -> None:
    def before() -> Vm:
        vm = yard.started()
        yard.files(vm).root_disk.write_bytes(b"precious")
        return stop_vm(yard.engine, vm.id)

    def after(point: str, vm: Vm) -> None:
        assert_the_next_list_puts_all_right(yard, but={(vm.id, VmState.STOPPED), (vm.id, VmState.STARTED)})
        assert start_vm(yard.engine, vm.id).state is VmState.STARTED, point
        assert yard.files(vm).root_disk.read_bytes() == b"precious", point
        yard.exec(vm)
        assert yard.remains() == [], point

    # The template for VMs that have a disk already, so that it is there each time.
    delete_if_there(yard.engine, start_vm(yard.engine, before().id).id)
    every_point(yard, others, tmp_path, "start", before, after)


def test_exec_can_be_killed_anywhere_and_the_vm_is_gone_all_the_same(
    yard: HostFixture, others: Verbs, tmp_path: Path
) -> None:
    def after(point: str, _vm: Vm) -> None:
        # Before the command was claimed for, the VM is as it was.
        left = list_vms(yard.engine)
        assert_the_next_list_puts_all_right(yard, but={(vm.id, VmState.STARTED) for vm in left})
        for vm in left:
            assert yard.exec(vm, "echo works").stdout == "works\n", point
        assert yard.remains() == [], point

    every_point(yard, others, tmp_path, "exec", yard.started, after)


def test_stop_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def after(point: str, vm: Vm) -> None:
        assert_the_next_list_puts_all_right(yard, but={(vm.id, VmState.STOPPED), (vm.id, VmState.STARTED)})
        assert stop_vm(yard.engine, vm.id).state is VmState.STOPPED, point
        assert yard.files(vm).root_disk.exists(), point
        assert others.run("delete", vm.id).status == 0, point
        assert yard.remains() == [], point

    every_point(yard, others, tmp_path, "stop", yard.started, after)


def test_delete_can_be_killed_anywhere(yard: HostFixture, others: Verbs, tmp_path: Path) -> None:
    def after(point: str, vm: Vm) -> None:
        assert_the_next_list_puts_all_right(yard, but={(vm.id, VmState.STARTED)})
        again = others.run("delete", vm.id)
        assert again.status == 0 or "there is no VM" in again.stderr, point
        assert yard.remains() == [], point

    every_point(yard, others, tmp_path, "delete", yard.started, after)
