"""The commands on networks: what they ask for, and what they print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.cli import following
from pyro_mcp.cli.main import main
from pyro_mcp.operations.network import NetworkPresetsResult, PresetHostResult
from pyro_mcp.operations.vms import InterfaceAddressResult
from pyro_mcp.operations.workspaces.network import (
    EffectiveHostResult,
    NetworkAttemptResult,
    NetworkLogResult,
    NetworkResult,
)
from tests.support.fake_runner import FakeRunner, exec_result
from tests.support.workspace_results import WORKSPACE_ID, workspace

if TYPE_CHECKING:
    from collections.abc import Callable

Capture = pytest.CaptureFixture[str]
NETWORK = NetworkResult(
    WORKSPACE_ID, "packages", ["api.example.org"], ["*.bad.example"],
    [EffectiveHostResult("api.example.org", "--allow-host"), EffectiveHostResult("deb.example", "apt: sources.list")],
    "now", "10.0.2.15", InterfaceAddressResult("fd00::2", 64, "fd00::1"),
)  # fmt: skip


def attempt(**changed: Any) -> NetworkAttemptResult:
    facts: dict[str, Any] = {
        "time": "2026-09-21T10:00:00.000Z", "host": "api.example.org", "address": "192.0.2.1", "port": 443,
        "protocol": "tls", "verdict": "allowed", "rule": "api.example.org", "reason": "", "bytes_sent": 300,
        "bytes_received": 5000,
    }  # fmt: skip
    return NetworkAttemptResult(**{**facts, **changed})


REFUSED = attempt(host="x\x1b[2J.example", address="", port=None, protocol="dns", verdict="refused", rule=None,
                  reason="no rule allows it")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("run debian:12", exec_result()),
        ("vm create debian:12", None),
        ("workspace create debian:12", workspace()),
        ("workspace network set w", NETWORK),
    ],
)
def test_hosts_go_with_every_policy_option(
    runner: Callable[[Any], FakeRunner], words: str, answer: Any, capfd: Capture
) -> None:
    from tests.support.fake_runner import vm_result

    fake = runner(vm_result() if answer is None else answer)
    options = "--network-policy packages --allow-host a.example --allow-host *.b.example:443 --deny-host 10.0.0.0/8"
    command = ["--", "true"] if words.startswith("run") else []
    assert main([*words.split(), *options.split(), *command]) == 0, capfd.readouterr()
    request = fake.asked[-1][1]
    assert request.network_policy == "packages"
    assert (request.allow_hosts, request.deny_hosts) == (("a.example", "*.b.example:443"), ("10.0.0.0/8",))


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_several_hosts_are_named_at_once(runner: Callable[[Any], FakeRunner], verb: str, capfd: Capture) -> None:
    fake = runner(NETWORK)
    assert main(["ws", "network", verb, "mend", "a.example", "b.example:443"]) == 0
    assert (fake.asked[-1][1].workspace_id, fake.asked[-1][1].hosts) == ("mend", ("a.example", "b.example:443"))
    capfd.readouterr()
    assert main(["ws", "network", verb, "mend"]) == 2
    assert "missing HOST" in capfd.readouterr().err


def test_a_network_is_shown_with_each_host_and_where_it_is_written(
    runner: Callable[[Any], FakeRunner], capfd: Capture
) -> None:
    runner(NETWORK)
    assert main(["workspace", "network", "show", "w"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert ["HOST", "SOURCE"] in lines
    assert ["deb.example", "apt:", "sources.list"] in lines
    assert any(line[-1] == "fd00::2" for line in lines if line)


def test_each_attempt_is_one_harmless_line(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    runner(NetworkLogResult(WORKSPACE_ID, 2, [attempt(), REFUSED], 7))
    assert main(["workspace", "network", "log", "w"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first == (
        "2026-09-21T10:00:00.000Z allowed tls api.example.org:443 (192.0.2.1) 300 sent, 5000 received"
        " [rule api.example.org]"
    )
    assert second == r"2026-09-21T10:00:00.000Z refused dns x^[[2J.example [no rule allows it]"


def test_an_empty_log_is_said_to_be_empty(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    runner(NetworkLogResult(WORKSPACE_ID, 0, [], 0))
    assert main(["workspace", "network", "log", "w"]) == 0
    assert capfd.readouterr().err == "no attempts to reach a host are recorded\n"


def test_a_followed_log_goes_on_where_the_last_look_ended(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    answers = [NetworkLogResult(WORKSPACE_ID, 1, [each], offset) for each, offset in ((attempt(), 5), (REFUSED, 9))]
    asked: list[int] = []

    def answer(_operation: object, request: Any, _call: object) -> object:
        asked.append(request.since)
        if len(asked) > len(answers):
            raise KeyboardInterrupt
        return answers[len(asked) - 1]

    fake = FakeRunner(answer)
    monkeypatch.setattr(following, "Runner", lambda: fake)
    assert main(["workspace", "network", "log", "w", "-f"]) == 130
    assert asked == [0, 5, 9]
    assert [line.split()[1] for line in capfd.readouterr().out.splitlines()] == ["allowed", "refused"]


def test_presets_are_shown_with_their_clients_and_remarks(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    hosts = [PresetHostResult("deb.example", "/etc/apt/sources.list", "apt")]
    fake = runner(NetworkPresetsResult("debian:12", False, 1, hosts, ["uv has no index"]))
    assert main(["network", "presets"]) == 0
    assert fake.asked[-1][1].environment == "debian:12"
    captured = capfd.readouterr()
    assert captured.out.splitlines()[1].split() == ["deb.example", "/etc/apt/sources.list", "apt"]
    assert captured.err == (
        "debian:12 is not installed: only this host's configuration is shown\nnote: uv has no index\n"
    )


def test_the_last_line_of_a_command_says_what_was_refused(runner: Callable[[Any], FakeRunner], capfd: Capture) -> None:
    hint = "network refused: a.example (policy packages); allow it with: `--allow-host a.example`"
    runner(exec_result(network_refused=["a.example"], network_hint=hint))
    assert main(["run", "debian:12", "--network-policy", "packages", "--", "true"]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == hint
