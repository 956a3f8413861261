"""VM records come back as they were written, change only legally, and one that is damaged harms no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import Accelerator, ExecutionMode, Isolation, NetworkPolicy, StopReason, VmmKind
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import VmState
from pyro_mcp.model.vm import BaseImage, Lease, Owner, Vm
from pyro_mcp.state.records import to_row, vm_from_row
from pyro_mcp.state.store import Store
from tests.support.vms import a_vm

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NUMBER = st.integers(0, 2**37)
TIME = st.floats(0, 2**37)
JSON = st.dictionaries(TEXT, st.one_of(TEXT, NUMBER, st.booleans(), st.none()), max_size=3)
MACHINES = st.builds(
    MachineRecord,
    st.sampled_from(VmmKind), st.sampled_from(Accelerator), TEXT, TEXT, NUMBER, NUMBER, NUMBER, NUMBER, JSON,
)  # fmt: skip
VMS = st.builds(
    Vm,
    id=st.builds(new_vm_id),
    environment=TEXT,
    base=st.none() | st.builds(BaseImage, TEXT, TEXT),
    shape=st.builds(Shape, st.integers(1, 16), st.integers(256, 4096)),
    network_policy=st.sampled_from(NetworkPolicy),
    allow_hosts=st.lists(TEXT, max_size=2).map(tuple),
    deny_hosts=st.lists(TEXT, max_size=2).map(tuple),
    allow_host_compat=st.booleans(),
    require_kvm=st.booleans(),
    ephemeral=st.booleans(),
    lease=st.builds(Lease, NUMBER, TIME, TIME, TEXT, TIME),
    state=st.sampled_from(VmState),
    variables=st.dictionaries(TEXT, TEXT, max_size=2),
    boot_digest=TEXT,
    stop_reason=st.none() | st.sampled_from(StopReason),
    execution_mode=st.none() | st.sampled_from(ExecutionMode),
    isolation=st.none() | st.sampled_from(Isolation),
    machine=st.none() | MACHINES,
    network=st.none() | JSON,
    owner=st.none() | st.builds(Owner, NUMBER, NUMBER, TEXT),
    last_error=TEXT,
)


@pytest.fixture
def store(private_paths: Paths) -> Generator[Store]:
    with Store(private_paths, print) as store:
        yield store


@given(VMS)
def test_any_vm_survives_being_a_row(vm: Vm) -> None:
    assert vm_from_row(to_row(vm)) == vm


@given(VMS, st.data())
def test_a_row_with_one_value_spoilt_is_called_corrupt_or_is_still_a_vm(vm: Vm, data: st.DataObject) -> None:
    row: dict[str, object] = dict(to_row(vm))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(st.none() | st.text() | st.integers() | st.binary())
    try:
        vm_from_row(row)
    except PyroError as error:
        assert error.code is ErrorCode.CORRUPT  # noqa: PT017 - either outcome is right, a traceback is not


def test_a_vm_comes_back_from_the_database_as_it_was(store: Store) -> None:
    machine = MachineRecord(VmmKind.QEMU, Accelerator.KVM, "b", "/r", 1, 2, 3, 4, {"a": [1]})
    vm = a_vm(machine=machine, owner=Owner(1, 2, "b"), network={"address": "10.0.2.15"}, last_error="é\n\udc80"[:2])
    store.vms.insert(vm)
    assert store.vms.get(vm.id) == vm
    assert store.vms.all() == ([vm], [])


def test_a_vm_can_be_recorded_once(store: Store) -> None:
    vm = store.vms.insert(a_vm())
    with pytest.raises(PyroError) as caught:
        store.vms.insert(vm)
    assert caught.value.code is ErrorCode.CONFLICT


def test_an_update_may_not_go_where_the_transition_table_does_not(store: Store) -> None:
    vm = store.vms.insert(a_vm())
    with pytest.raises(PyroError) as caught:
        store.vms.update(vm.id, lambda now: replace(now, state=VmState.STARTED))
    assert caught.value.code is ErrorCode.CONFLICT
    assert store.vms.get(vm.id) == vm


def test_a_vm_that_is_not_there_is_named_in_the_error(store: Store) -> None:
    with pytest.raises(PyroError, match="there is no VM vm_x") as caught:
        store.vms.update("vm_x", lambda now: now)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert store.vms.find("vm_x") is None
    assert store.vms.delete("vm_x") is False


def test_vms_are_listed_oldest_first(store: Store) -> None:
    vms = [a_vm() for _ in range(5)]
    for vm in reversed(vms):
        store.vms.insert(vm)
    assert store.vms.all()[0] == vms


def test_one_damaged_record_is_named_and_the_rest_load(store: Store) -> None:
    good, bad = store.vms.insert(a_vm()), store.vms.insert(a_vm())
    store.vms._database.write(  # pyright: ignore[reportPrivateUsage]
        lambda connection: connection.execute("UPDATE vms SET state = 'dancing' WHERE id = ?", (bad.id,))
    )
    assert store.vms.all() == ([good], [bad.id])
