"""Variables of ours are checked, near misses are noticed, and other programs' are left alone."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import variables


@pytest.mark.parametrize("name", [name for name, values in variables.VARIABLES.items() if values])
def test_a_wrong_value_is_an_error_that_names_those_that_exist(name: str) -> None:
    with pytest.raises(PyroError) as caught:
        variables.check_values({name: "bogus"})
    assert caught.value.code is ErrorCode.USAGE
    assert caught.value.message == f"{name} is 'bogus'"
    assert all(value in caught.value.hint for value in variables.VARIABLES[name])


def test_every_value_that_exists_and_an_empty_one_are_fine() -> None:
    for name, values in variables.VARIABLES.items():
        for value in (*values, ""):
            variables.check_values({name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PYRO_VM", "PYRO_VMM"),
        ("PYRO_ACCELERATOR", "PYRO_ACCEL"),
        ("PYRO_REQUIRE_KVN", "PYRO_REQUIRE_KVM"),
        ("PYRO_CACHE_DIR", "PYRO_ENVIRONMENT_CACHE_DIR"),
        ("PYRO_STATE_DIRECTORY", "PYRO_STATE_DIR"),
    ],
)
def test_a_near_miss_names_what_was_meant(name: str, meant: str) -> None:
    assert variables.near_misses({name: "x"}) == [(name, meant)]


def test_variables_of_other_programs_and_of_version_3_are_no_near_misses() -> None:
    others = ("PYRO_HOST", "PYRO_NS_PORT", "PYRO_SERIALIZER", "PYRO_LOGLEVEL", "PYRO_THREADPOOL_SIZE", "PYROLA")
    assert variables.near_misses(dict.fromkeys([*others, *variables.FORMER, *variables.VARIABLES], "x")) == []


def test_those_of_version_3_that_do_nothing_are_found() -> None:
    assert variables.former_in_use({"PYRO_RUNTIME_BUNDLE_DIR": "/x", "PYRO_VMM": "qemu"}) == ["PYRO_RUNTIME_BUNDLE_DIR"]


def test_a_host_may_forbid_every_vm() -> None:
    variables.check_values({"PYRO_VMM": "none"})
