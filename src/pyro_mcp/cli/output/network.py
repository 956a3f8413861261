"""Output of the commands on networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.output.tables import facts, table
from pyro_mcp.cli.streams import put, say
from pyro_mcp.operations.printable import printable_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyro_mcp.operations.network import NetworkPresetsResult
    from pyro_mcp.operations.workspaces.network import NetworkAttemptResult, NetworkLogResult, NetworkResult

_HEADS = ("HOST", "SOURCE")


def _network(result: NetworkResult) -> None:
    allowed, denied = (", ".join(each) for each in (result.allow_hosts, result.deny_hosts))
    ipv6 = "" if result.ipv6 is None else result.ipv6.address
    put(facts({**result, "allow_hosts": allowed, "deny_hosts": denied, "effective": "", "ipv6": ipv6}))
    if result.effective:
        put(table(_HEADS, [(each.host, each.source) for each in result.effective]))


def _log(result: NetworkLogResult) -> None:
    if not result.entries:
        say("no attempts to reach a host are recorded")
    show_attempts(result.entries)


def show_attempts(attempts: Sequence[NetworkAttemptResult]) -> None:
    """Write attempts to reach hosts, each on one line."""
    for each in attempts:
        address = f" ({each.address})" if each.address not in {"", each.host} else ""
        port = "" if each.port is None else f":{each.port}"
        why = "; ".join(filter(None, (each.reason, f"rule {each.rule}" if each.rule else "")))
        amount = f" {each.bytes_sent} sent, {each.bytes_received} received" if each.verdict == "allowed" else ""
        line = f"{each.time} {each.verdict} {each.protocol} {each.host}{port}{address}{amount}"
        put(printable_line(line + (f" [{why}]" if why else "")))


def presets(result: NetworkPresetsResult) -> str:
    """Return the hosts of the policy packages, and where each is written; remarks go to stderr."""
    if not result.installed:
        say(f"{result.environment} is not installed: only this host's configuration is shown")
    for note in result.notes:
        say(f"note: {printable_line(note)}")
    return table((*_HEADS, "CLIENT"), [(each.host, each.source, each.client) for each in result.hosts])


SHOWING: dict[str, Callable[[Any], None]] = {
    "workspace_network_show": _network,
    "workspace_network_set": _network,
    "workspace_network_allow": _network,
    "workspace_network_deny": _network,
    "workspace_network_log": _log,
}
