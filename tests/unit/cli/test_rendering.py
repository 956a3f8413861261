"""Results as a person sees them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pyro_mcp.cli.output.rendering import render
from pyro_mcp.cli.output.tables import facts, size, table
from pyro_mcp.operations.environments import ENV_LIST, ENV_PRUNE, Environment, EnvListResult, EnvPruneResult
from pyro_mcp.operations.vms import VM_LIST, VM_REAP_EXPIRED, VM_STATUS, VmListResult, VmReapExpiredResult
from tests.support.fake_runner import VM_ID, vm_result


def environment(**changed: object) -> Environment:
    known: dict[str, object] = {each.name: None for each in fields(Environment)}
    known |= {"name": "debian:12", "description": "Debian", "installed": True, "state": "installed", "reason": ""}
    known |= {"outdated": False, "size_bytes": 237 * 1024**2}
    return Environment(**{**known, **changed})  # type: ignore[arg-type]


def test_environments_are_listed_with_their_state() -> None:
    listed = [
        environment(),
        environment(name="debian:13", installed=False, state="missing", size_bytes=None),
        environment(name="debian:14", outdated=True),
        environment(name="debian:15", installed=False, state="broken", reason="base.img is\ngone\x1b[2J"),
    ]
    assert render(ENV_LIST, EnvListResult("1", len(listed), listed)).splitlines() == [
        "Catalog version: 1",
        "debian:12 [installed] Debian (237.0 MiB)",
        "debian:13 [not installed] Debian",
        "debian:14 [installed] Debian (237.0 MiB, outdated)",
        "debian:15 [not installed] Debian (broken: base.img is\\ngone^[[2J)",
    ]


def test_what_was_pruned_is_listed() -> None:
    text = render(ENV_PRUNE, EnvPruneResult(["debian:12 abc"], 1, ["template ab"], 1536, ["debian:13"]))
    assert text.splitlines() == [
        "removed environment debian:12 abc",
        "removed template ab",
        "skipped, since it is being pulled: debian:13",
        "freed 1.5 KiB",
    ]


def test_vms_stand_in_a_table_or_there_are_none() -> None:
    assert render(VM_LIST, VmListResult(0, [])) == "no VMs"
    lines = render(VM_LIST, VmListResult(1, [vm_result(isolation="tcg")])).splitlines()
    assert lines[1].split()[:4] == [VM_ID, "created", "debian:12", "tcg"]


def test_clearing_away_names_what_went() -> None:
    assert render(VM_REAP_EXPIRED, VmReapExpiredResult(0, [])) == "no expired VMs"
    assert render(VM_REAP_EXPIRED, VmReapExpiredResult(1, [VM_ID])) == f"deleted {VM_ID}"


def test_a_result_without_a_form_of_its_own_is_a_list_of_facts() -> None:
    text = render(VM_STATUS, vm_result(last_error="said \x1b]0;x\x07"))
    assert f"vm id: {VM_ID}" in text
    assert "guest ip" not in text
    assert "last error: said ^[]0;x^G" in text
    assert (
        facts({"a": {"b_bytes": 2048, "c": []}, "d": ["x", "y"], "e": True})
        == "a:\n  b bytes: 2.0 KiB\nd: x, y\ne: yes"
    )


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 1024**4, "5.0 TiB")]
)
def test_sizes_are_in_words(number: int, text: str) -> None:
    assert size(number) == text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [("longer", 1), ("x", None)]) == "A       B\nlonger  1\nx       -"
