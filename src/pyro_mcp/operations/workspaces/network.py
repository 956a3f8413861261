"""The network of a workspace: show, set, allow, deny, log."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from pyro_mcp.model.limits import MAX_RULE_CHARS
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, asked, said
from pyro_mcp.operations.operation import Call, Effect, Operation, Result, engine, result_of
from pyro_mcp.operations.parameters import WorkspaceRequest
from pyro_mcp.operations.vms import InterfaceAddressResult, address_in

if TYPE_CHECKING:
    from pyro_mcp.workspace.network.show import NetworkStatus

_DEFAULT_ENTRIES, _MAX_ENTRIES = 200, 10_000
_MAX_OFFSET = 2**53
_APPLIED = "Whether the rules are in effect: now, or from the next start on (next start)."


class NetworkSetRequest(Request):
    """Ask for another policy and other rules."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    network_policy: str = field(metadata=parameters.NETWORK_POLICY)
    allow_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.ALLOW_HOSTS)
    deny_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.DENY_HOSTS)


class NetworkHostsRequest(Request):
    """Name hosts."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    hosts: tuple[str, ...] | None = asked(
        f"The hosts: {parameters.HOST_FORMS}.",
        place=Place.POSITIONAL,
        names="HOST",
        max_length=MAX_RULE_CHARS,
        pattern=r"^\S+$",
        form=parameters.HOST_FORMS,
    )


class NetworkLogRequest(Request):
    """Ask for the attempts to reach hosts."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    since: int = asked(
        "Offset to start at: that of an earlier answer. 0: the last ones.", default=0, ge=0, le=_MAX_OFFSET
    )
    limit: int = asked("Number of entries.", default=_DEFAULT_ENTRIES, ge=1, le=_MAX_ENTRIES)


class EffectiveHostResult(Result):
    """A host that the guest may reach."""

    host: str = said("The host.")
    source: str = said("Where that is written: --allow-host, or the configuration of a package client.")


class NetworkResult(Result):
    """The network of a workspace."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    network_policy: str = said(parameters.POLICY)
    allow_hosts: list[str] = said(parameters.ALLOWED)
    deny_hosts: list[str] = said(parameters.DENIED)
    effective: list[EffectiveHostResult] = said("All hosts that it may reach, if its network is filtered.", most=100)
    applied: str = said(_APPLIED)
    guest_ip: str | None = said("The running guest's IPv4 address.")
    ipv6: InterfaceAddressResult | None = said("Its IPv6 address.")


class NetworkAttemptResult(Result):
    """One attempt to reach a host."""

    time: str = said("When (UTC).")
    host: str = said("The host's name, or its address if no name was used.", guest=True)
    address: str = said("Its address, if one was found.")
    port: int | None = said("Its port.")
    protocol: str = said("The protocol: tls, http, tcp, dns, udp.")
    verdict: str = said("allowed or refused.")
    rule: str | None = said("The rule that decided; null if none did.")
    reason: str = said("Why it was refused.")
    bytes_sent: int = said("Bytes that the guest sent.")
    bytes_received: int = said("Bytes that it received.")


class NetworkLogResult(Result):
    """The attempts to reach hosts."""

    workspace_id: str = said(parameters.WORKSPACE_ID)
    count: int = said("Number of entries.")
    entries: list[NetworkAttemptResult] = said("The attempts, oldest first.", most=100, last=True)
    offset: int = said("Where a later call goes on, with since.")


def _show(request: WorkspaceRequest, call: Call) -> NetworkResult:
    from pyro_mcp.workspace.lifecycle.lookup import status_workspace
    from pyro_mcp.workspace.network.show import show_network

    with engine(call) as using:
        return _result(show_network(using, status_workspace(using, request.workspace_id).id))


def _set(request: NetworkSetRequest, call: Call) -> NetworkResult:
    from pyro_mcp.model.kinds import NetworkPolicy
    from pyro_mcp.model.network import NetworkRules
    from pyro_mcp.workspace.lifecycle.lookup import status_workspace
    from pyro_mcp.workspace.network.change import change_network

    rules = NetworkRules.parse(
        NetworkPolicy(request.network_policy), request.allow_hosts or (), request.deny_hosts or ()
    )
    with engine(call) as using:
        return _result(change_network(using, status_workspace(using, request.workspace_id).id, rules))


def _allow(request: NetworkHostsRequest, call: Call) -> NetworkResult:
    from pyro_mcp.workspace.lifecycle.lookup import status_workspace
    from pyro_mcp.workspace.network.change import allow_hosts

    with engine(call) as using:
        return _result(allow_hosts(using, status_workspace(using, request.workspace_id).id, request.hosts or ()))


def _deny(request: NetworkHostsRequest, call: Call) -> NetworkResult:
    from pyro_mcp.workspace.lifecycle.lookup import status_workspace
    from pyro_mcp.workspace.network.change import deny_hosts

    with engine(call) as using:
        return _result(deny_hosts(using, status_workspace(using, request.workspace_id).id, request.hosts or ()))


def _log(request: NetworkLogRequest, call: Call) -> NetworkLogResult:
    from pyro_mcp.workspace.lifecycle.lookup import find_workspace
    from pyro_mcp.workspace.network.log import read_log

    with engine(call) as using:
        workspace = find_workspace(using, request.workspace_id)
        found = read_log(using, workspace.id, since=request.since, limit=request.limit)
    return result_of(NetworkLogResult, found, count=len(found.entries))


def _result(status: NetworkStatus) -> NetworkResult:
    known = status.network or {}
    ipv4 = address_in(known, "ipv4")
    return result_of(NetworkResult, status, guest_ip=ipv4.address if ipv4 else None, ipv6=address_in(known, "ipv6"))


WORKSPACE_NETWORK_SHOW = Operation(
    name="workspace_network_show",
    title="Show a workspace's network",
    description=(
        "Show a workspace's network policy, the hosts that it allows and from where each comes, and whether that is in"
        " effect."
    ),
    handler=_show,
    effect=Effect.READ,
    cli=("workspace", "network", "show"),
    sdk="show_workspace_network",
)
WORKSPACE_NETWORK_SET = Operation(
    name="workspace_network_set",
    title="Set a workspace's network",
    description=(
        "Replace a workspace's network policy and its allowed and denied hosts, also while it runs: connections to"
        " hosts that are no longer allowed end. From off to another policy takes a restart."
    ),
    handler=_set,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "network", "set"),
    sdk="set_workspace_network",
)
WORKSPACE_NETWORK_ALLOW = Operation(
    name="workspace_network_allow",
    title="Allow hosts to a workspace",
    description="Allow hosts to a workspace whose network policy is packages or allow, and no longer deny them.",
    handler=_allow,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "network", "allow"),
    sdk="allow_workspace_hosts",
)
WORKSPACE_NETWORK_DENY = Operation(
    name="workspace_network_deny",
    title="Deny hosts to a workspace",
    description="Deny hosts to a workspace, and no longer allow them. Connections to them end.",
    handler=_deny,
    effect=Effect.WRITE,
    idempotent=True,
    cli=("workspace", "network", "deny"),
    sdk="deny_workspace_hosts",
)
WORKSPACE_NETWORK_LOG = Operation(
    name="workspace_network_log",
    title="Show what a workspace tried to reach",
    description=(
        "Show which hosts a workspace with a filtered network tried to reach: time, name, address, port, verdict, rule"
        " and bytes."
    ),
    handler=_log,
    effect=Effect.READ,
    cli=("workspace", "network", "log"),
    sdk="read_workspace_network_log",
)
ROWS = (
    WORKSPACE_NETWORK_SHOW,
    WORKSPACE_NETWORK_SET,
    WORKSPACE_NETWORK_ALLOW,
    WORKSPACE_NETWORK_DENY,
    WORKSPACE_NETWORK_LOG,
)
