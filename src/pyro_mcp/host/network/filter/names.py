"""The configuration of dnsmasq, which answers a filtered guest's DNS queries.

It refuses every name that no rule allows. Before it answers with an address, it adds the address to the packet filter's
sets. Records of types HTTPS and SVCB are left out: they carry keys with which a client encrypts the name that it asks
a server for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.host.network.filter.settings import named_set, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from pyro_mcp.host.network.filter.settings import FilterSettings

# Only with no-daemon does dnsmasq keep the user and groups that it was started with: it can't change them in a user
# namespace of an ordinary user.
_FIXED = """\
no-daemon
no-resolv
no-hosts
no-poll
cache-size=1000
dns-forward-max=150
log-queries=extra
filter-rr=HTTPS,SVCB
"""


def dnsmasq_config(settings: FilterSettings, resolvers: Iterable[IPv4Address | IPv6Address], *, log: str) -> str:
    """Return the configuration. In a file or FIFO, unlike on stderr, a line of `log` begins with the time."""
    servers = [str(address) for address in resolvers]
    fixed = f"{_FIXED}log-facility={log}"
    return "\n".join((fixed, *_lines(settings, servers), ""))


def _lines(settings: FilterSettings, servers: list[str]) -> Iterator[str]:
    # A denied name without a port is unknown; with a port it has to be resolved for the other ports.
    yield from (f"server=/{rule.host}/" for rule in names(settings.deny) if rule.port is None)
    if settings.default_allowed:
        yield from (f"server={server}" for server in servers)
    for host in dict.fromkeys(rule.host for rule in names(settings.allow)):
        yield from (f"server=/{host}/{server}" for server in servers)
        ports = dict.fromkeys(rule.port for rule in names(settings.allow) if rule.host == host)
        sets = ",".join(
            f"{version}#inet#pyro_egress#{named_set(version, port)}" for port in ports for version in (4, 6)
        )
        yield f"nftset=/{host}/{sets}"
