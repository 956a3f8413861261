"""Profiles and modes show tools that exist."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.operations.fields import parameters
from pyro_mcp.operations.profiles import (
    DEFAULT_PROFILE,
    INSPECT,
    MODES,
    PROFILES,
    REPRO_FIX,
    WORKSPACE_CORE,
    Profile,
    find_profile,
)
from pyro_mcp.operations.table import all_operations, find_tools

SELECTIONS = [*PROFILES.values(), *MODES.values()]
# The public contract, section 6.
CORE = (
    "vm_run workspace_create workspace_list workspace_update workspace_status workspace_sync_push workspace_exec"
    " workspace_logs workspace_summary workspace_file_list workspace_file_read workspace_file_write"
    " workspace_patch_apply workspace_diff workspace_export workspace_reset workspace_delete"
)
INSPECTING = (
    "workspace_create workspace_list workspace_update workspace_status workspace_exec workspace_logs workspace_summary"
    " workspace_file_list workspace_file_read workspace_export workspace_delete"
)


def named(profile: Profile) -> str:
    return profile.name


def test_profiles_and_modes_have_the_contracts_tools() -> None:
    assert find_profile(None) is WORKSPACE_CORE
    assert WORKSPACE_CORE.name == DEFAULT_PROFILE
    assert set(WORKSPACE_CORE.tools) == set(CORE.split())
    assert set(REPRO_FIX.tools) == set(CORE.split()) - {"vm_run"}
    assert set(INSPECT.tools) == set(INSPECTING.split())
    services = {f"service_{verb}" for verb in ("start", "list", "status", "logs", "stop")}
    assert set(MODES["cold-start"].tools) == {*INSPECT.tools, "workspace_reset", *services}
    assert find_profile(None, "inspect") is INSPECT
    assert find_profile(DEFAULT_PROFILE, "repro-fix") is REPRO_FIX


@pytest.mark.parametrize("profile", SELECTIONS, ids=named)
def test_a_selection_shows_tools_that_exist_and_hides_optional_arguments(profile: Profile) -> None:
    rows = find_tools(profile.tools)
    assert len(rows) == len(profile.tools) == len(set(profile.tools))
    known = {parameter.name: parameter for row in rows for parameter in parameters(row.request)}
    assert all(name not in known or not known[name].required for name in profile.hidden)
    assert len(profile.instructions) < 2000
    assert all(len(profile.description_of(row)) < 2000 for row in rows)
    assert set(profile.says) <= set(profile.tools)


@pytest.mark.parametrize("profile", [WORKSPACE_CORE, *MODES.values()], ids=named)
def test_a_model_is_not_asked_for_secrets_networks_or_host_compat(profile: Profile) -> None:
    offered = {each.name for row in find_tools(profile.tools) for each in parameters(row.request)} - profile.hidden
    assert not offered & {"secrets", "secret_env", "network", "network_policy", "allow_host_compat", "require_kvm"}


def test_the_full_profile_has_every_tool() -> None:
    every = {row.mcp for row in all_operations() if row.mcp}
    assert set(find_profile("workspace-full").tools) == every
    assert not find_profile("workspace-full").hidden


def test_an_unknown_profile_or_mode_names_the_known_ones() -> None:
    with pytest.raises(PyroError, match="there is no profile 'all'") as caught:
        find_profile("all")
    assert "vm-run" in caught.value.hint
    with pytest.raises(PyroError, match="there is no mode 'fast'") as caught:
        find_profile(None, "fast")
    assert "repro-fix" in caught.value.hint


def test_a_profile_and_a_mode_can_not_be_had_together() -> None:
    with pytest.raises(PyroError, match="the profile vm-run and the mode inspect"):
        find_profile("vm-run", "inspect")
