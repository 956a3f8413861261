"""Network policies in a real guest, in an internet of our own: what they refuse, how they change, and what is kept."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.egress_lab import ALLOWED, run_lab
from tests.support.policy_lab import FILES, MODULE, NAME, OTHER, make_files
from tests.vm.test_egress import needs_network

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300), needs_network]

# The table of the policies' figures has 50 ms, for which a benchmark looks; here the guest may share its processor.
ANSWERED_WITHIN_S = 1.0
ENDED_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Return what was seen in the life of one workspace, and in one command's VM."""
    place = tmp_path_factory.mktemp("lab")
    make_files(place)
    account = "root" if os.geteuid() == 0 else str(os.geteuid())
    return run_lab("policies", account, sys.executable, module=MODULE, variables={FILES: str(place)}, timeout_s=280.0)


def test_git_clones_over_https_from_an_allowed_name(seen: Mapping[str, Any]) -> None:
    clone = seen["clone"]
    assert (clone["exit_code"], clone["stdout"], clone["network_refused"]) == (0, "cloned\n", [])


# In the words of each surface.
REMEDIES = {
    "json": f"pyro workspace network allow {{}} {OTHER}`",
    "sdk": f"allow_workspace_hosts('{{}}', ['{OTHER}'])`",
    "mcp": f"workspace_network_allow` with `workspace_id={{}}, hosts=['{OTHER}']`",
}


@pytest.mark.parametrize("surface", ["json", "sdk", "mcp"])
def test_a_result_names_the_refused_host_and_the_command_that_allows_it(seen: Mapping[str, Any], surface: str) -> None:
    result = seen["refused"][surface]
    assert list(result["network_refused"]) == [OTHER]
    assert result["network_hint"] == hint(REMEDIES[surface].format(seen["workspace_id"]))


def test_a_person_reads_the_same_hint_after_the_output(seen: Mapping[str, Any]) -> None:
    assert hint(REMEDIES["json"].format(seen["workspace_id"])) in seen["refused"]["text"].splitlines()


@pytest.mark.parametrize("protocol", ["http", "tls", "tcp"])
def test_a_refused_connection_is_answered_at_once(seen: Mapping[str, Any], protocol: str) -> None:
    seconds, _, status = seen["refused"][protocol]["stdout"].partition(" ")
    assert float(seconds) < ANSWERED_WITHIN_S
    assert status == ("403" if protocol == "http" else "000")


def test_a_refused_request_gets_a_page_with_the_host_and_the_remedy(seen: Mapping[str, Any]) -> None:
    command = f"pyro workspace network allow {seen['workspace_id']} {OTHER}"
    assert seen["refused"]["page"]["stdout"] == (
        f"{OTHER} was refused by the network policy of this sandbox (allow).\nTo allow it, run on the host: {command}\n"
    )


def test_a_host_is_allowed_while_the_guest_runs(seen: Mapping[str, Any]) -> None:
    allowed = seen["allowed"]
    assert allowed["status"]["allow_hosts"] == [NAME, OTHER]
    assert allowed["status"]["applied"] == "now"
    assert allowed["done"]["stdout"] == "hello\n"
    assert allowed["same_boot"]


@pytest.mark.parametrize("change", ["denied", "off"])
def test_a_connection_ends_when_its_host_is_no_longer_allowed(seen: Mapping[str, Any], change: str) -> None:
    assert seen[change]["taken"] == "more\n"
    assert seen[change]["seconds"] < ENDED_WITHIN_S
    assert seen[change]["status"]["applied"] == "now"


def test_off_leaves_nothing_and_egress_needs_no_less_than_a_change(seen: Mapping[str, Any]) -> None:
    assert seen["after_off"]["exit_code"] != 0
    assert seen["after_off"]["stdout"] == ""
    assert seen["on_again"]["network_policy"] == "egress"


@pytest.mark.parametrize("turn", ["first", "started", "reset"])
def test_the_policy_holds_at_each_turn_of_life(seen: Mapping[str, Any], turn: str) -> None:
    reached = seen["turns"][turn]
    assert reached["stdout"] == "hello\n"
    assert reached["refused"] == [OTHER]


def test_the_log_is_kept_as_long_as_the_workspace(seen: Mapping[str, Any]) -> None:
    turns = seen["turns"]
    first, stopped, started, reset = (turns[turn]["log"] for turn in ("first", "stopped", "started", "reset"))
    assert stopped[: len(first)] == first
    assert started[: len(stopped)] == stopped
    assert reset[: len(started)] == started
    assert len(first) < len(started) < len(reset)
    assert [(each["host"], each["verdict"], each["protocol"]) for each in started[len(stopped) :]] == [
        (NAME, "allowed", "http"),
        (OTHER, "refused", "dns"),
    ]
    assert started[len(stopped)]["address"] == ALLOWED[0]
    assert started[len(stopped)]["rule"] == NAME


def test_one_command_has_the_same_policies(seen: Mapping[str, Any]) -> None:
    run = seen["run"]
    assert run["stdout"] == "hello\n"
    assert run["network_refused"] == [OTHER]
    assert run["network_hint"] == f"network refused: {OTHER} (policy allow); allow it with: `--allow-host {OTHER}`"


def hint(remedy: str) -> str:
    return f"network refused: {OTHER} (policy allow); allow it with: `{remedy}"
