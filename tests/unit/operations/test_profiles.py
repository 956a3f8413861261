"""Profiles show tools that exist, and say plainly which profiles do not exist yet."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.fields import parameters
from pyro_mcp.operations.profiles import PLANNED_MODES, PLANNED_PROFILES, PROFILES, Profile, find_profile
from pyro_mcp.operations.table import find_tools


def test_the_default_profile_is_vm_run() -> None:
    assert find_profile(None).tools == ("vm_run",)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_profile_shows_tools_that_exist_and_hides_optional_arguments(profile: Profile) -> None:
    rows = find_tools(profile.tools)
    assert len(rows) == len(profile.tools) == len(set(profile.tools))
    known = {parameter.name: parameter for row in rows for parameter in parameters(row.request)}
    assert all(not known[name].required for name in profile.hidden)
    assert len(profile.instructions) < 2000


@pytest.mark.parametrize("name", PLANNED_PROFILES)
def test_a_profile_that_does_not_exist_yet_is_refused_honestly(name: str) -> None:
    with pytest.raises(PyroError, match=f"the profile {name} needs workspaces") as caught:
        find_profile(name)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert "vm-run" in caught.value.hint


@pytest.mark.parametrize("mode", PLANNED_MODES)
def test_a_mode_that_does_not_exist_yet_is_refused_honestly(mode: str) -> None:
    with pytest.raises(PyroError, match=f"the mode {mode} needs workspaces"):
        find_profile(None, mode)


def test_an_unknown_profile_or_mode_names_the_known_ones() -> None:
    with pytest.raises(PyroError, match="there is no profile 'all'") as caught:
        find_profile("all")
    assert "vm-run" in caught.value.hint
    with pytest.raises(PyroError, match="there is no mode 'fast'") as caught:
        find_profile(None, "fast")
    assert "repro-fix" in caught.value.hint
