"""A guest that tries hard, in an internet of our own: what it must not reach is there, and answers everybody else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.network import egress_problems
from tests.support import egress_lab
from tests.support.egress_lab import ALLOWED, HOSTS_OWN, LOOPBACK, METADATA, PRIVATE, SILENT, SPELLINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ACCOUNTS = ["root", "user"] if os.geteuid() == 0 else [str(os.geteuid())]
TIMEOUT_S = 30.0
FIRST_EPHEMERAL_PORT = 32768

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any("/dev/net/tun" in problem.message or "installed" in problem.message for problem in egress_problems()),
        reason="this host gives no guest a network",
    ),
]


@pytest.fixture(scope="module", params=ACCOUNTS)
def seen(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Return what the guest saw, its network being started by one kind of user."""
    account = str(request.param)
    if account != "user":
        return egress_lab.run_lab("guest", account, sys.executable)
    with egress_lab.readable_checkout() as checkout:
        return egress_lab.run_lab("guest", account, _interpreter_for_all(checkout), checkout)


def _interpreter_for_all(checkout: Path) -> str:
    """Return an interpreter that a user without any rights can run."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        check = [*egress_lab.as_account("user"), candidate, "-c", f"import {egress_lab.__name__}"]
        env = {**os.environ, "PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        if process.run(check, timeout_s=TIMEOUT_S, env=env, cwd=checkout, check=False).returncode == 0:
            return candidate
    pytest.skip("no Python 3.11 or later on this host may be run by another user")


def test_everything_in_the_lab_answers_the_host_itself(seen: Mapping[str, Any]) -> None:
    assert seen["controls"] == dict.fromkeys((*ALLOWED, *HOSTS_OWN, *LOOPBACK, *METADATA, *PRIVATE), True)


@pytest.mark.parametrize("policy", ["default", "private"])
class TestWhateverThePolicy:
    """What holds with and without access to private networks."""

    def test_the_world_is_reached_over_both_families(self, seen: Mapping[str, Any], policy: str) -> None:
        assert {address: seen[policy]["tcp"][address] for address in ALLOWED} == dict.fromkeys(ALLOWED, "open")
        assert {seen[policy]["udp"].get(address) for address in ALLOWED} == {"internet"}

    def test_the_host_never_answers(self, seen: Mapping[str, Any], policy: str) -> None:
        assert set(seen[policy]["udp"].values()) == {"internet"}

    @pytest.mark.parametrize("targets", [HOSTS_OWN, LOOPBACK, METADATA], ids=["host", "loopback", "metadata"])
    def test_it_is_refused_at_once(self, seen: Mapping[str, Any], policy: str, targets: tuple[str, ...]) -> None:
        assert {address: seen[policy]["tcp"][address] for address in targets} == dict.fromkeys(targets, "refused")
        assert not set(targets) & set(seen[policy]["udp"])

    def test_no_spelling_of_a_local_address_leads_anywhere(self, seen: Mapping[str, Any], policy: str) -> None:
        assert "open" not in {seen[policy]["tcp"][address] for address in SPELLINGS}
        assert not set(SPELLINGS) & set(seen[policy]["udp"])

    def test_a_name_that_stands_for_loopback_leads_nowhere(self, seen: Mapping[str, Any], policy: str) -> None:
        assert seen[policy]["names"] == {"loopback.test": ["127.0.0.1"], "allowed.test": [ALLOWED[0]]}
        assert seen[policy]["tcp"]["127.0.0.1"] == "refused"

    def test_the_guest_occupies_no_port_of_a_service(self, seen: Mapping[str, Any], policy: str) -> None:
        opened = seen[policy]["opened_on_host"]
        assert opened
        assert all(entry.startswith("udp") for entry in opened)
        assert min(int(entry.rpartition(":")[2], 16) for entry in opened) >= FIRST_EPHEMERAL_PORT

    def test_nobody_whom_the_guest_did_not_ask_is_heard(self, seen: Mapping[str, Any], policy: str) -> None:
        assert seen[policy]["strangers_heard"] is False


def test_by_default_private_and_attached_networks_are_refused_at_once(seen: Mapping[str, Any]) -> None:
    outcome = seen["default"]["tcp"]
    assert {address: outcome[address] for address in PRIVATE} == dict.fromkeys(PRIVATE, "refused")
    assert set(seen["default"]["udp"]) == set(ALLOWED)
    assert {address for address, result in outcome.items() if result == "silent"} <= SILENT


def test_by_choice_private_and_attached_networks_are_reached(seen: Mapping[str, Any]) -> None:
    outcome = seen["private"]["tcp"]
    assert {address: outcome[address] for address in PRIVATE} == dict.fromkeys(PRIVATE, "open")


def test_a_name_server_on_loopback_is_asked_through_a_stand_in_and_a_private_one_directly(
    seen: Mapping[str, Any],
) -> None:
    assert seen["default"]["network"]["dns"] == ["10.213.77.3"]
    assert seen["default"]["tcp"]["10.213.77.3"] == "refused"
    assert seen["private"]["network"]["dns"] == [egress_lab.PRIVATE_RESOLVER]


def test_an_address_that_the_host_gets_later_is_refused_too(seen: Mapping[str, Any]) -> None:
    # Only root of the lab may give its host an address.
    if "later" in seen:
        assert seen["later"] == {**dict.fromkeys(egress_lab.LATER, "refused"), "udp": ""}
    else:
        assert os.geteuid() != 0 or "user" in ACCOUNTS
