"""A request is refused before anything is done, with a sentence that says what to give instead."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image import catalog
from pyro_mcp.operations.environments import EnvPullRequest
from pyro_mcp.operations.guest_commands import time_limit
from pyro_mcp.operations.run import VmRunRequest
from pyro_mcp.operations.validation import MAX_ARGUMENT_BYTES, check_request
from pyro_mcp.operations.vms import VmRequest

VM_ID = "vm_" + "a" * 20


def a_run(**changed: object) -> VmRunRequest:
    return VmRunRequest(**cast("Any", {"environment": "debian:12", "command": "true", **changed}))


def refusal(request: object) -> PyroError:
    with pytest.raises(PyroError) as caught:
        check_request(request)
    return caught.value


def test_the_defaults_are_within_the_bounds() -> None:
    check_request(a_run())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vcpu_count", 0),
        ("vcpu_count", -1),
        ("vcpu_count", 10**12),
        ("vcpu_count", True),
        ("vcpu_count", 1.5),
        ("vcpu_count", "1"),
        ("mem_mib", 0),
        ("ttl_seconds", 0),
    ],
)
def test_a_number_out_of_bounds_names_the_field_and_the_bounds(field: str, value: object) -> None:
    error = refusal(a_run(**{field: value}))
    assert error.code is ErrorCode.INVALID
    assert error.message == f"{field} is {value!r}"
    assert error.hint.startswith("Give a whole number from ")
    assert error.details == {"parameter": field}


@pytest.mark.parametrize("value", [0, -1, 0.0, 86_401, True, "30", float("nan"), float("inf")])
def test_a_time_limit_out_of_bounds_names_the_field_and_the_bounds(value: object) -> None:
    error = refusal(a_run(timeout_seconds=value))
    assert error.message == f"timeout_seconds is {value!r}"
    assert error.hint == "Give a number from 0.001 to 86400 (seconds), or none for no limit."


@pytest.mark.parametrize("value", [0.25, 30, 86_400, None])
def test_a_time_limit_may_be_a_fraction_or_none(value: object) -> None:
    check_request(a_run(timeout_seconds=value))


def test_a_command_on_a_network_has_more_time_unless_a_limit_is_given() -> None:
    assert time_limit(a_run()) == 30
    assert time_limit(a_run(network=True)) == 120
    assert time_limit(a_run(network=True, timeout_seconds=30)) == 30
    assert time_limit(a_run(network=True, timeout_seconds=None)) is None


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ((), "names no program"),
        (("", "a"), "names no program"),
        (("a", 1), "is not a string"),
        (7, "is 7"),
        (None, "is None"),
        ("a\0b", "holds a NUL character"),
        (("a", "b\0"), "holds a NUL character"),
        ("a" * (MAX_ARGUMENT_BYTES + 1), "is too long"),
        (("a",) + ("b" * 60_000,) * 35, "is too long"),
    ],
)
def test_a_command_that_no_program_could_get_is_refused(command: object, problem: str) -> None:
    assert problem in refusal(a_run(command=command)).message


def test_arguments_keep_what_is_odd_but_possible() -> None:
    check_request(a_run(command=("sh", "", "a b", "\n", "-x", "$(x)", "caf\udce9")))
    check_request(a_run(command="a" * MAX_ARGUMENT_BYTES))


@pytest.mark.parametrize("flag", ["yes", 1, None])
def test_a_claim_is_true_or_false(flag: object) -> None:
    assert refusal(a_run(network=flag)).hint == "Give true or false."


@pytest.mark.parametrize("name", ["", "debian", "Debian:12", "debian:12\n", "../x:1", "a" * 200 + ":1", ":", 12, None])
def test_a_malformed_environment_is_refused_with_an_example(name: object) -> None:
    error = refusal(a_run(environment=name))
    assert error.message.startswith("environment ")
    assert "debian:12" in error.hint or "at most" in error.hint


@given(st.one_of(st.from_regex(r"[a-z0-9._:-]{1,20}", fullmatch=True), st.text(max_size=20)))
def test_a_name_is_refused_here_exactly_if_the_catalog_refuses_it(name: str) -> None:
    def refuses(check: Any, argument: object) -> bool:
        try:
            check(argument)
        except PyroError:
            return True
        return False

    assert refuses(check_request, EnvPullRequest(environment=name)) == refuses(catalog.check_name, name)


@pytest.mark.parametrize("vm_id", ["vm_", "x", "", "vm_../../etc", VM_ID + "\n", VM_ID.upper()])
def test_what_can_not_be_a_vms_id_is_refused(vm_id: str) -> None:
    assert refusal(VmRequest(vm_id=vm_id)).message.startswith("vm_id is ")
    check_request(VmRequest(vm_id=VM_ID))


def test_a_message_repeats_only_the_beginning_of_a_long_value() -> None:
    assert len(refusal(VmRequest(vm_id="x" * 60)).message) < 100
