"""A workspace's network is what it was created with, until it is changed; a change is recorded before it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.network import NetworkRules
from pyro_mcp.model.service import PublishedPort
from pyro_mcp.workspace.network.change import allow_hosts, change_network, deny_hosts
from pyro_mcp.workspace.network.log import read_log
from pyro_mcp.workspace.network.show import NEXT_START, NOW, show_network
from pyro_mcp.workspace.services.spec import ServiceSpec
from pyro_mcp.workspace.services.start import start_service
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths


def test_rules_that_do_not_fit_the_policy_create_nothing(yard: HostFixture) -> None:
    with pytest.raises(PyroError, match="hosts are allowed, but the network policy is 'off'") as caught:
        yard.workspace(allow_hosts=("example.org",))
    assert caught.value.code is ErrorCode.INVALID
    assert yard.engine.store.workspaces.all() == ([], [])


def test_a_changed_network_is_recorded_and_waits_for_the_next_start(yard: HostFixture) -> None:
    workspace = yard.workspace()
    assert show_network(yard.engine, workspace.id).applied == NOW
    rules = NetworkRules.parse(NetworkPolicy.ALLOW, ["Example.org:443"], ["bad.example.org"])
    found = change_network(yard.engine, workspace.id, rules)
    assert (found.network_policy, found.allow_hosts, found.deny_hosts) == (
        NetworkPolicy.ALLOW, ("example.org:443",), ("bad.example.org",),
    )  # fmt: skip
    assert found.applied == NEXT_START
    assert [(each.host, each.source) for each in found.effective] == [("example.org:443", "--allow-host")]
    assert show_network(yard.engine, workspace.id) == found


def test_hosts_move_between_allowed_and_denied(yard: HostFixture) -> None:
    workspace = yard.workspace()
    change_network(yard.engine, workspace.id, NetworkRules.parse(NetworkPolicy.ALLOW, ["a.example", "b.example"]))
    found = deny_hosts(yard.engine, workspace.id, ["b.example", "c.example"])
    assert (found.allow_hosts, found.deny_hosts) == (("a.example",), ("b.example", "c.example"))
    found = allow_hosts(yard.engine, workspace.id, ["C.example"])
    assert (found.allow_hosts, found.deny_hosts) == (("a.example", "c.example"), ("b.example",))
    with pytest.raises(PyroError, match="the network policy 'allow' names no host"):
        deny_hosts(yard.engine, workspace.id, ["a.example", "c.example"])
    assert show_network(yard.engine, workspace.id).allow_hosts == ("a.example", "c.example")


def test_with_egress_a_denied_host_can_be_allowed_again_and_no_other(yard: HostFixture) -> None:
    workspace = yard.workspace()
    change_network(yard.engine, workspace.id, NetworkRules.parse(NetworkPolicy.EGRESS, (), ["a.example"]))
    assert allow_hosts(yard.engine, workspace.id, ["a.example"]).deny_hosts == ()
    with pytest.raises(PyroError, match="which reaches every host"):
        allow_hosts(yard.engine, workspace.id, ["b.example"])


def test_a_workspace_that_tried_nothing_has_an_empty_log(yard: HostFixture) -> None:
    workspace = yard.workspace()
    found = read_log(yard.engine, workspace.id)
    assert (found.workspace_id, found.entries) == (workspace.id, ())


def test_on_the_host_itself_no_port_is_published(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_VMM", "none")
    host = HostFixture(private_paths)
    workspace = host.workspace(allow_host_compat=True)
    with pytest.raises(PyroError, match="can't publish ports: its services run on this host itself") as caught:
        start_service(host.engine, workspace.id, ServiceSpec("web", "true", ports=(PublishedPort(0, 8080),)))
    assert caught.value.code is ErrorCode.UNSUPPORTED
    with pytest.raises(PyroError, match="has no guest: its commands use this host's network"):
        change_network(host.engine, workspace.id, NetworkRules(NetworkPolicy.EGRESS))
    host.close()
