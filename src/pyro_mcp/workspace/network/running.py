"""The network of a running guest: put rules into effect, and read what was tried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, cast

from pyro_mcp.host.network import change_egress
from pyro_mcp.host.network.filter.log import read_log
from pyro_mcp.model.network import NetworkRules
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.workspace.machines.network import filter_settings, network_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyro_mcp.host.network.filter.log import NetworkAttempt as LoggedAttempt
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine


_REASONS = {
    "host": "no rule allows this host",
    "address": "no allowed name was resolved to this address",
    "no_name": "the TLS client named no host",
    "hidden_name": "the TLS client encrypted the name of the host",
    "protocol": "the first bytes are neither TLS nor HTTP, as they would have to be",
    "inside": "the name leads to a private or local address",
    "no_address": "the name has no address",
    "tunnel": "requests to a proxy are refused",
}


@dataclass(frozen=True, slots=True)
class NetworkAttempt:
    """One attempt of a guest to reach a host.

    `protocol` is tls, http, tcp, dns or udp, `verdict` allowed or refused. `rule` is the rule that decided, None if no
    rule did; `reason` says why it was refused.
    """

    time: str
    host: str
    address: str
    port: int | None
    protocol: str
    verdict: str
    rule: str | None = None
    reason: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class NetworkLog:
    """Attempts, oldest first; a later call goes on at `offset`."""

    workspace_id: str
    entries: tuple[NetworkAttempt, ...]
    offset: int


def apply_rules(engine: Engine, workspace: Workspace, rules: NetworkRules) -> None:
    """Put rules into effect in the running guest of a workspace, and record them with its VM.

    Unless they only allow more, live connections end: which host one leads to is known to none but the proxy.

    Raises:
        PyroError: UNAVAILABLE if the network has ended, TIMEOUT.
    """
    vm = engine.store.vms.get(workspace.vm_id)
    settings = filter_settings(engine, vm, rules)
    ipv4 = cast("Mapping[str, object]", (vm.network or {}).get("ipv4") or {})
    subnet = IPv4Interface(f"{ipv4['address']}/{ipv4['prefix_length']}").network if ipv4 else None
    before = NetworkRules.of(vm)
    change_egress(
        network_files(engine.paths, vm), settings=settings, subnet=subnet, cut=not _only_allows_more(before, rules)
    )
    given = {"network_policy": rules.policy, "allow_hosts": rules.allow_hosts, "deny_hosts": rules.deny_hosts}
    engine.store.vms.update(vm.id, lambda now: replace(now, **given))


def _only_allows_more(before: NetworkRules, after: NetworkRules) -> bool:
    is_open = after.policy.has_network and not after.policy.takes_allowed
    return (after.policy is before.policy or is_open) and (
        (is_open or set(before.allow) <= set(after.allow)) and set(after.deny) <= set(before.deny)
    )


def read_network_log(engine: Engine, workspace: Workspace, since: int, limit: int) -> NetworkLog:
    """Return at most `limit` attempts of a workspace's guests, from the offset `since` on: the newest.

    A secret's value in a name is redacted.
    """
    attempts, offset = read_log(WorkspaceFiles(engine.paths, workspace.id).network_log, since)
    shown = _redaction(engine, workspace)
    return NetworkLog(workspace.id, tuple(_entry(each, shown) for each in attempts[-limit:]), offset)


def _redaction(engine: Engine, workspace: Workspace) -> Callable[[str], str]:
    if not workspace.secrets:
        return str
    from pyro_mcp.workspace.secrets.keeping import secrets_of
    from pyro_mcp.workspace.secrets.redactor import Redactor

    return Redactor(each.value for each in secrets_of(engine.paths, workspace)).text


def _entry(attempt: LoggedAttempt, shown: Callable[[str], str]) -> NetworkAttempt:
    return NetworkAttempt(
        time=datetime.fromtimestamp(attempt.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        host=shown(attempt.host),
        address=attempt.address or "",
        port=attempt.port,
        protocol=attempt.protocol,
        verdict="allowed" if attempt.is_allowed else "refused",
        rule=attempt.rule,
        reason=_REASONS.get(attempt.reason or "", ""),
        bytes_sent=attempt.bytes_sent,
        bytes_received=attempt.bytes_received,
    )
