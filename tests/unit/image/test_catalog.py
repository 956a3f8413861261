"""The catalog has what the contract promises, and answers a wrong name with the right ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.catalog import load_catalog
from pyro_mcp.image.names import check_name, label_of, name_of

NAMES = ["debian:12", "debian:12-base", "debian:12-build", "debian:13", "debian:13-base", "debian:13-build"]
COMMON = {"git", "python3", "ca-certificates", "curl"}
BUILD = {"build-essential", "pkg-config", "python3-venv", "python3-dev"}


def packages(name: str) -> set[str]:
    return set(load_catalog().find(name).recipe.packages)


def test_the_catalog_has_three_environments_for_each_debian() -> None:
    assert [environment.name for environment in load_catalog().environments] == NAMES


@pytest.mark.parametrize("version", ["12", "13"])
def test_each_environment_holds_what_the_contract_promises(version: str) -> None:
    base, common, build = (packages(f"debian:{version}{suffix}") for suffix in ("-base", "", "-build"))

    assert common >= COMMON
    assert build >= COMMON | BUILD
    assert base < common < build


def test_the_suites_are_those_of_the_versions() -> None:
    assert load_catalog().find("debian:12").recipe.suite == "bookworm"
    assert load_catalog().find("debian:13").recipe.suite == "trixie"


def test_recipes_are_told_apart_by_their_digests() -> None:
    digests = {environment.digest for environment in load_catalog().environments}

    assert len(digests) == len(NAMES)


def test_every_text_and_option_names_no_mirror() -> None:
    for environment in load_catalog().environments:
        assert not re.search(r"https?://", str(environment.to_json()))


def test_commands_find_a_locale_and_a_path() -> None:
    for environment in load_catalog().environments:
        assert environment.variables["LANG"] == "C.UTF-8"
        assert "/usr/bin" in environment.variables["PATH"]


def test_an_unknown_name_is_answered_with_all_names_and_the_closest() -> None:
    with pytest.raises(PyroError, match="there is no environment debian:21; the catalog has debian:12, ") as caught:
        load_catalog().find("debian:21")

    assert caught.value.code is ErrorCode.NOT_FOUND
    assert caught.value.hint.startswith("Did you mean debian:1")
    assert caught.value.details["available"] == NAMES


def test_a_name_like_no_other_is_answered_with_the_command_that_lists_them() -> None:
    with pytest.raises(PyroError) as caught:
        load_catalog().find("windows:95")

    assert caught.value.hint == "`pyro env list` lists the environments."


@pytest.mark.parametrize(
    "name",
    [
        "", "debian", "debian:", ":12", "Debian:12", "debian:12:x", "debian/12", "../debian:12", "debian:..", "-x:1",
        "debian:\u0661\u0662",
        "debian:12;reboot", "$(id):1", "debian:12\n", "debian :12", "debian:12@", "d" * 200 + ":1",
    ],
)  # fmt: skip
def test_what_can_not_be_a_name_is_refused_before_it_is_looked_for(name: str) -> None:
    with pytest.raises(PyroError, match="can't be the name of an environment") as caught:
        load_catalog().find(name)

    assert caught.value.code is ErrorCode.INVALID
    assert len(caught.value.message) < 250


@given(st.text(max_size=20))
def test_whatever_passes_as_a_name_is_safe_as_a_file_name_and_comes_back_from_it(text: str) -> None:
    try:
        check_name(text)
    except PyroError:
        return
    label = label_of(text)
    assert re.fullmatch(r"[a-z0-9][a-z0-9@._-]*", label)
    assert name_of(label) == text
