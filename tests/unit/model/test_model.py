"""Values refuse what is out of bounds, ids can't be guessed, and the life of a VM has no way round its table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.ids import is_vm_id, new_vm_id, parse_vm_id
from pyro_mcp.model.kinds import Accelerator, ExecutionMode, Isolation, NetworkPolicy, VmmKind
from pyro_mcp.model.limits import Shape, check_timeout, check_ttl
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.states import TRANSITIONS, VmState, may_follow, require_transition

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("vcpu_count", "mem_mib"), [(0, 1024), (-1, 1024), (10**9, 1024), (1, 0), (1, 1), (1, 10**9)])
def test_a_shape_with_absurd_sizes_is_refused_naming_the_parameter_and_its_bounds(
    vcpu_count: int, mem_mib: int
) -> None:
    with pytest.raises(PyroError, match=r"^(vcpu_count|mem_mib) is ") as caught:
        Shape(vcpu_count, mem_mib)
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.hint.startswith("Give a whole number from ")


def test_true_is_not_taken_for_one() -> None:
    with pytest.raises(PyroError, match="vcpu_count is True"):
        Shape(True)


@pytest.mark.parametrize(
    ("check", "value"),
    [*((each, value) for each in (check_ttl, check_timeout) for value in (0, -5, 10**12)), (check_ttl, 1.5)],
)
def test_times_out_of_bounds_are_refused(check: Callable[[Any], object], value: object) -> None:
    with pytest.raises(PyroError) as caught:
        check(value)
    assert caught.value.code is ErrorCode.INVALID


def test_new_ids_are_well_formed_and_never_the_same() -> None:
    ids = {new_vm_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(is_vm_id(each) for each in ids)


@pytest.mark.parametrize(
    "text",
    ["", "vm_", "vm_..", "../vm_abc", "vm_" + "a" * 19, "vm_" + "a" * 21, "VM_" + "a" * 20, "vm_" + "a" * 19 + "\n"],
)
def test_what_is_no_id_is_refused_before_it_becomes_a_path(text: str) -> None:
    with pytest.raises(PyroError) as caught:
        parse_vm_id(text)
    assert caught.value.code is ErrorCode.INVALID


@given(st.text())
def test_no_text_passes_for_an_id_that_leads_out_of_a_directory(text: str) -> None:
    if is_vm_id(text):
        assert "/" not in text
        assert not text.startswith(".")


def test_every_state_can_be_deleted_except_one_that_is_being_deleted() -> None:
    for state in VmState:
        assert may_follow(state, VmState.DELETING) is (state is not VmState.DELETING)


def test_every_state_is_reached_from_creating() -> None:
    reached = {VmState.CREATING}
    while more := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(VmState)


def test_an_illegal_transition_is_a_conflict_that_names_the_vm_and_both_states() -> None:
    with pytest.raises(PyroError, match=r"^vm_x is deleting and can't become started \[") as caught:
        require_transition("vm_x", VmState.DELETING, VmState.STARTED)
    assert caught.value.code is ErrorCode.CONFLICT
    assert caught.value.hint


def test_every_vmm_and_accelerator_has_its_word_in_results() -> None:
    assert {ExecutionMode.of(kind) for kind in VmmKind} == set(ExecutionMode)
    assert {Isolation.of(accelerator) for accelerator in Accelerator} == set(Isolation)
    assert not NetworkPolicy.OFF.has_network
    assert NetworkPolicy.EGRESS.has_network
    assert NetworkPolicy.EGRESS_PUBLISHED_PORTS.has_network
    assert NetworkPolicy.PACKAGES.has_network
    assert NetworkPolicy.ALLOW.has_network


def machine() -> MachineRecord:
    return MachineRecord(VmmKind.QEMU, Accelerator.TCG, "boot", "/run/x", 10, 11, 12, 13, {"port": 3})


def test_a_machines_record_survives_json() -> None:
    assert from_json(MachineRecord, to_json(machine())) == machine()


@pytest.mark.parametrize("key", ["kind", "accelerator", "boot_id", "runtime_dir", "keeper_pid"])
def test_a_damaged_machine_record_is_called_corrupt(key: str) -> None:
    document = {**to_json(machine()), key: ["nonsense"]}
    with pytest.raises(PyroError) as caught:
        from_json(MachineRecord, document)
    assert caught.value.code is ErrorCode.CORRUPT
