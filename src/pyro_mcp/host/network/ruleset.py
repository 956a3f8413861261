"""The packet filter of a guest's network namespace, as nftables text.

The policy of every chain is to drop.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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

_RULES = """\
table inet pyro_egress {{
	set later_ipv4 {{ type ipv4_addr; }}
	set later_ipv6 {{ type ipv6_addr; }}
	chain output {{
		type filter hook output priority filter; policy drop;
		oifname "lo" tcp flags & rst == rst accept
		oifname "lo" icmp type destination-unreachable accept
		oifname "lo" icmpv6 type destination-unreachable accept
		oifname "lo" goto refuse
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		ip daddr @later_ipv4 goto refuse
		ip6 daddr @later_ipv6 goto refuse
{resolvers}
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
	chain input {{
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
	}}
	chain sources {{
		type nat hook postrouting priority srcnat; policy accept;
		meta l4proto udp masquerade to :{udp_ports}
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
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


def ruleset(refused: Iterable[Network], resolvers: Iterable[IPv4Address | IPv6Address]) -> str:
    """Return the filter that rejects packets to these networks, except DNS to the resolvers.

    Packets are rejected with a reset or an ICMP error, rather than dropped, so that programs fail immediately. A packet
    to the namespace's own address, which is also the host's, never leaves the namespace's loopback interface.
    """
    by_version: dict[int, set[Network]] = {4: set(), 6: set()}
    for network in refused:
        by_version[network.version].add(network)
        if isinstance(network, IPv4Network):
            by_version[6] |= set(_embeddings(network))
    return _RULES.format(
        resolvers="\n".join(_resolver_rule(address) for address in resolvers),
        refused_ipv4=_elements(by_version[4]),
        refused_ipv6=_elements(by_version[6]),
        udp_ports=_UDP_SOURCE_PORTS,
    )


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
