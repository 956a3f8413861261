"""The packet filter of a guest's network namespace, as nftables text.

The policy of every chain is to drop.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from pyro_mcp.host.network.filter.settings import NAMED_PORT, OTHER_PORT, named_ports, named_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyro_mcp.host.network.filter.settings import FilterSettings
    from pyro_mcp.host.network.surroundings import Surroundings

    Network = IPv4Network | IPv6Network

# Never reachable, whatever the policy (RFC 6890; the last three are cloud platforms' metadata services outside
# 169.254.0.0/16: Azure, Alibaba, Oracle).
_NEVER_IPV4 = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
)
# ::/96 contains the unspecified and loopback addresses; fd00:ec2::/32 and fd20:ce::254 are AWS's and Google's metadata.
_NEVER_IPV6 = ("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8", "fd00:ec2::/32", "fd20:ce::254/128")

_PRIVATE_IPV4 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24")
# 64:ff9b:1::/48 is for local IPv4 translators (RFC 8215); fec0::/10 is the predecessor of fc00::/7.
_PRIVATE_IPV6 = ("fc00::/7", "fec0::/10", "64:ff9b:1::/48")

# IPv6 prefixes whose packets are forwarded to an embedded IPv4 address: NAT64 (RFC 6052) and 6to4 (RFC 3056).
_EMBEDDING = ((IPv6Network("64:ff9b::/96"), 96), (IPv6Network("2002::/16"), 16))

# A network wider than these prefix lengths is not considered local.
_WIDEST_LOCAL = {4: 16, 6: 48}

# pasta uses the source port of a guest's datagrams on the host as well. This range (Linux's ephemeral ports) keeps the
# guest from occupying the port of a host service.
_UDP_SOURCE_PORTS = "32768-60999"

# `in0` leads to the inner namespace, in which passt opens the guest's connections; `up0` leads to the host. `outward`
# holds for each packet of a connection, also for those of connections that were opened before a rule came.
#
# The text can be loaded again over other rules: `flush table` keeps the sets with what was added to them.
_RULES = """\
table inet pyro_egress
flush table inet pyro_egress
table inet pyro_egress {{
	set later_ipv4 {{ type ipv4_addr; }}
	set later_ipv6 {{ type ipv6_addr; }}
{named_sets}
	chain outward {{
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		ip daddr @later_ipv4 goto refuse
		ip6 daddr @later_ipv6 goto refuse
{resolvers}
{opened}
		ip daddr {{ {refused_ipv4} }} goto refuse
		ip6 daddr {{ {refused_ipv6} }} goto refuse
		meta l4proto {{ tcp, udp }} accept
		icmp type echo-request accept
		icmpv6 type echo-request accept
	}}
	chain refuse {{
		meta l4proto tcp reject with tcp reset
		reject with icmpx type admin-prohibited
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		iifname "up0" oifname "in0" ct state established,related accept
{forwarded}
	}}
	chain steer {{
		type nat hook prerouting priority dstnat; policy accept;
{steered}
	}}
	chain output {{
		type filter hook output priority filter; policy drop;
		oifname "in0" accept
		oifname "lo" udp dport 53 accept
		oifname "lo" udp sport 53 accept
		oifname "lo" tcp flags & rst == rst accept
		oifname "lo" icmp type destination-unreachable accept
		oifname "lo" icmpv6 type destination-unreachable accept
		oifname "lo" goto refuse
		goto outward
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		iifname "in0" ct status dnat tcp dport {{ 53, {named_port}, {other_port} }} accept
		iifname "in0" ct status dnat udp dport 53 accept
		iifname "in0" goto refuse
		iifname "lo" udp dport 53 accept
	}}
	chain sources {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname "up0" meta l4proto udp masquerade to :{udp_ports}
		oifname "up0" iifname "in0" masquerade
	}}
}}
"""


def never_reached(surroundings: Surroundings) -> list[Network]:
    """Return the networks that no guest can reach: loopback, link-local, metadata, multicast, the host's addresses."""
    networks: list[Network] = [IPv4Network(text) for text in _NEVER_IPV4]
    networks += [IPv6Network(text) for text in _NEVER_IPV6]
    for interface in surroundings.addresses:
        own = interface.ip
        networks.append(IPv4Network(own) if isinstance(own, IPv4Address) else IPv6Network(own))
    return networks


def local_networks(surroundings: Surroundings) -> list[Network]:
    """Return the host's local networks: private ranges and the networks that it is attached to.

    Attached networks are included even if their addresses are public: the host may be assigned another address in them
    while the guest runs (IPv6 privacy addresses change daily), which must not be reachable either.
    """
    networks: list[Network] = [IPv4Network(text) for text in _PRIVATE_IPV4]
    networks += [IPv6Network(text) for text in _PRIVATE_IPV6]
    networks += [
        interface.network
        for interface in surroundings.addresses
        if interface.network.prefixlen >= _WIDEST_LOCAL[interface.version]
    ]
    return networks


def ruleset(
    refused: Iterable[Network],
    resolvers: Iterable[IPv4Address | IPv6Address],
    *,
    never: Iterable[Network] = (),
    settings: FilterSettings | None = None,
) -> str:
    """Return the filter that rejects packets to these networks, except DNS to the resolvers.

    Packets are rejected with a reset or an ICMP error, rather than dropped, so that programs fail immediately. A packet
    to the namespace's own address, which is also the host's, never leaves the namespace's loopback interface.

    With `settings`, no packet of the guest passes: its TCP connections and DNS queries go to the proxy and the resolver
    of the namespace, whose own packets are subject to the same rules, except that networks which `settings` allows are
    reached even if they are among the refused ones, unless they are among those that are `never` reached.
    """
    by_version: dict[int, set[Network]] = {4: set(), 6: set()}
    denied = [] if settings is None else [rule.network for rule in settings.deny if rule.network and not rule.port]
    for network in (*refused, *denied):
        by_version[network.version].add(network)
        if isinstance(network, IPv4Network):
            by_version[6] |= set(_embeddings(network))
    return _RULES.format(
        named_sets="" if settings is None else "\n".join(_named_sets(settings)),
        resolvers="\n".join(_resolver_rule(address) for address in resolvers),
        opened="" if settings is None else "\n".join(_opened(settings, never)),
        refused_ipv4=_elements(by_version[4]),
        refused_ipv6=_elements(by_version[6]),
        forwarded='\t\tiifname "in0" ' + ('oifname "up0" goto outward' if settings is None else "goto refuse"),
        steered="" if settings is None else "\n".join(_steered(settings)),
        named_port=NAMED_PORT,
        other_port=OTHER_PORT,
        udp_ports=_UDP_SOURCE_PORTS,
    )


def _named_sets(settings: FilterSettings) -> Iterator[str]:
    for port in named_ports(settings):
        for version in (4, 6):
            yield f"\tset {named_set(version, port)} {{ type ipv{version}_addr; size 65535; }}"


def _steered(settings: FilterSettings) -> Iterator[str]:
    yield '\t\tiifname "in0" meta l4proto { tcp, udp } th dport 53 redirect to :53'
    if settings.default_allowed:
        yield f'\t\tiifname "in0" meta l4proto tcp redirect to :{NAMED_PORT}'
    for port in named_ports(settings):
        at = "" if port is None else f"tcp dport {port} "
        for version, family in ((4, "ip"), (6, "ip6")):
            named = f"{family} daddr @{named_set(version, port)}"
            yield f'\t\tiifname "in0" meta l4proto tcp {at}{named} redirect to :{NAMED_PORT}'
    yield f'\t\tiifname "in0" meta l4proto tcp redirect to :{OTHER_PORT}'


def _opened(settings: FilterSettings, never: Iterable[Network]) -> Iterator[str]:
    rules = [rule for rule in settings.allow if rule.network is not None]
    if not rules:
        return
    by_version: dict[int, set[Network]] = {4: set(), 6: set()}
    for network in never:
        by_version[network.version].add(network)
        if isinstance(network, IPv4Network):
            by_version[6] |= set(_embeddings(network))
    yield f"\t\tip daddr {{ {_elements(by_version[4])} }} goto refuse"
    yield f"\t\tip6 daddr {{ {_elements(by_version[6])} }} goto refuse"
    for rule in rules:
        at = "" if rule.port is None else f" tcp dport {rule.port}"
        family = "ip" if isinstance(rule.network, IPv4Network) else "ip6"
        yield f"\t\t{family} daddr {rule.network} meta l4proto tcp{at} accept"


def _embeddings(network: IPv4Network) -> Iterable[IPv6Network]:
    for prefix, bits in _EMBEDDING:
        embedded = int(prefix.network_address) | int(network.network_address) << (128 - bits - 32)
        yield IPv6Network((embedded, bits + network.prefixlen))


def _resolver_rule(address: IPv4Address | IPv6Address) -> str:
    family = "ip" if address.version == 4 else "ip6"
    return f"\t\t{family} daddr {address} meta l4proto {{ tcp, udp }} th dport 53 accept"


def _elements(networks: set[Network]) -> str:
    # nft rejects overlapping intervals in an anonymous set.
    return ", ".join(str(network) for network in _collapsed(networks))


def _collapsed(networks: set[Network]) -> list[Network]:
    kept: list[Network] = []
    for network in sorted(networks, key=lambda item: (int(item.network_address), item.prefixlen)):
        if not kept or int(network.network_address) > int(kept[-1].broadcast_address):
            kept.append(network)
    return kept
