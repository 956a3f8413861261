"""A command whose network refused hosts says which, by what policy, and how to allow them."""

from __future__ import annotations

from typing import Any

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy
from pyro_mcp.model.limits import NETWORK_TIMEOUT_S
from pyro_mcp.operations.guest_commands import command_result, refusal_hint, time_limit
from pyro_mcp.operations.run import Cleanup, VmCreateRequest, VmExecResult, VmRunRequest, vm_spec
from pyro_mcp.workspace.commands.exec import WorkspaceExecution
from pyro_mcp.workspace.machines.command import Execution

MACHINE = ("vm_1", "debian:12", "true", ExecutionMode.GUEST_VSOCK, Isolation.KVM)


def one_shot(*refused: str, policy: NetworkPolicy = NetworkPolicy.PACKAGES) -> Execution:
    return Execution(*MACHINE, exit_code=0, network_policy=policy, network_refused=refused)


def test_a_command_in_a_workspace_names_the_command_that_allows_a_host() -> None:
    done = WorkspaceExecution(
        *MACHINE, "ws_1", 1, exit_code=0, network_policy=NetworkPolicy.PACKAGES, network_refused=("a.example",)
    )
    assert refusal_hint(done) == (
        "network refused: a.example (policy packages); allow it with: `pyro workspace network allow ws_1 a.example`"
    )


def test_a_command_of_its_own_vm_names_the_option() -> None:
    result = command_result(VmExecResult, one_shot("a.example", "b.example"), cleanup=Cleanup("vm_1", True, "x"))
    assert result.network_refused == ["a.example", "b.example"]
    assert result.network_hint == (
        "network refused: a.example, b.example (policy packages); allow it with:"
        " `--allow-host a.example --allow-host b.example`"
    )


def test_what_is_denied_by_name_is_not_offered_to_be_allowed() -> None:
    assert refusal_hint(one_shot("a.example", policy=NetworkPolicy.EGRESS)) == (
        "network refused: a.example (policy egress); it is denied"
    )


def test_of_many_hosts_the_first_ones_are_named() -> None:
    hint = refusal_hint(one_shot(*(f"{number}.example" for number in range(20))))
    assert "4.example and 15 more (policy packages)" in hint
    assert "5.example" not in hint.replace("15 more", "")


def test_without_a_refusal_there_is_nothing_to_say() -> None:
    result = command_result(VmExecResult, one_shot(), cleanup=Cleanup("vm_1", True, "x"))
    assert (result.network_refused, result.network_hint) == ([], "")


@pytest.mark.parametrize("kind", [VmRunRequest, VmCreateRequest])
@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, NetworkPolicy.OFF),
        ({"network": True}, NetworkPolicy.EGRESS),
        ({"network": True, "network_policy": "packages"}, NetworkPolicy.PACKAGES),
        ({"network_policy": "allow", "allow_hosts": ("a.example",)}, NetworkPolicy.ALLOW),
        ({"network_policy": "egress+published-ports"}, NetworkPolicy.EGRESS_PUBLISHED_PORTS),
    ],
)
def test_a_vm_has_the_policy_that_is_asked_for(kind: Any, given: dict[str, Any], policy: NetworkPolicy) -> None:
    asked = kind(environment="debian:12", **given, **({"command": "true"} if kind is VmRunRequest else {}))
    spec = vm_spec(asked)
    assert (spec.network_policy, spec.allow_hosts) == (policy, given.get("allow_hosts", ()))
    if kind is VmRunRequest:
        assert (time_limit(asked) == NETWORK_TIMEOUT_S) is policy.has_network


def test_a_network_and_the_policy_off_contradict_each_other() -> None:
    asked = VmRunRequest(environment="debian:12", command="true", network=True, network_policy="off")
    with pytest.raises(PyroError, match="a network is requested, and the network policy is 'off'") as caught:
        vm_spec(asked)
    assert caught.value.code is ErrorCode.INVALID
