"""Plan a guest's network: addresses, name servers, and the arguments of pasta and passt.

Planning has no side effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.network.filter.settings import Enforced
from pyro_mcp.host.network.guest import GuestNetwork, InterfaceAddress
from pyro_mcp.host.network.ruleset import local_networks, never_reached, ruleset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyro_mcp.host.network.filter.settings import FilterSettings
    from pyro_mcp.host.network.surroundings import Surroundings

    Network = IPv4Network | IPv6Network

# The largest frame that passt supports. passt terminates TCP, so frames of this size never leave the host.
MTU_BYTES = 65520

# Candidates for the guest's own subnet. The first one that the host does not use is chosen, so that a guest that may
# reach private networks can reach the host's.
_GUEST_IPV4 = (IPv4Network("10.213.77.0/24"), IPv4Network("172.29.213.0/24"), IPv4Network("192.168.213.0/24"))
# A unique local prefix (RFC 4193): programs prefer IPv4 over it, and it works without IPv4.
_GUEST_IPV6 = IPv6Network("fd70:7972:6f::/64")
_GATEWAY, _RESOLVER, _GUEST = 1, 3, 15
_GATEWAY_MAC = "52:54:00:70:79:01"
_GLOBAL_UNICAST = IPv6Network("2000::/3")


Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class EgressPlan:
    """The parts of one guest's network."""

    guest: GuestNetwork
    enforced: Enforced
    pasta_arguments: tuple[str, ...]
    passt_arguments: tuple[str, ...]
    #: The host's addresses that are covered by the rules.
    known: tuple[str, ...]


def plan_egress(
    surroundings: Surroundings,
    *,
    private_networks: bool = False,
    settings: FilterSettings | None = None,
    subnet: IPv4Network | None = None,
) -> EgressPlan:
    """Plan a guest's network. With `private_networks` it can also reach the host's local networks.

    With `settings` it reaches only the hosts that they allow. `subnet` is its IPv4 network, if that is decided already.

    Raises:
        PyroError: UNAVAILABLE if the host itself has no default route.
    """
    ipv4, ipv6 = surroundings.default_ipv4, _wants_ipv6(surroundings)
    if not ipv4 and not ipv6:
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            "this host has no default route, so a guest can't reach any network",
            hint="Connect the host to a network, or run the guest without `--network`.",
        )
    subnets: dict[int, Network] = {}
    if ipv4:
        subnets[4] = subnet or _free_subnet(surroundings)
    if ipv6:
        subnets[6] = _GUEST_IPV6
    never = never_reached(surroundings)
    resolvers = _choose_resolvers(surroundings.nameservers, never, subnets)
    refused = never if private_networks else [*never, *local_networks(surroundings)]
    guest = GuestNetwork(
        ipv4=_interface_address(subnets[4]) if ipv4 else None,
        ipv6=_interface_address(subnets[6]) if ipv6 else None,
        dns=tuple(str(address) for address in resolvers.values()),
        mtu=MTU_BYTES,
    )
    families = () if ipv4 and ipv6 else ("-4",) if ipv4 else ("-6",)
    return EgressPlan(
        guest=guest,
        enforced=Enforced(
            ruleset(refused, resolvers.values(), never=never, settings=settings),
            tuple(resolvers.values()),
            tuple(sorted(subnets)),
            settings,
            tuple(refused),
        ),
        pasta_arguments=(*families, *_pasta_arguments(resolvers)),
        passt_arguments=(*families, *_passt_arguments(guest)),
        known=tuple(str(interface.ip) for interface in surroundings.addresses),
    )


def _wants_ipv6(surroundings: Surroundings) -> bool:
    """Return whether to give the guest IPv6.

    A default route alone is not enough: containers and test networks often have one that leads nowhere, and a guest
    would run into timeouts. It is used if the host also has a global address, or has no IPv4.
    """
    has_global = any(
        isinstance(interface.ip, IPv6Address) and interface.ip in _GLOBAL_UNICAST
        for interface in surroundings.addresses
    )
    return surroundings.default_ipv6 and (has_global or not surroundings.default_ipv4)


def _free_subnet(surroundings: Surroundings) -> IPv4Network:
    used = [interface.network for interface in surroundings.addresses if interface.version == 4]
    for candidate in _GUEST_IPV4:
        if not any(candidate.overlaps(network) for network in used) and not any(
            server in candidate for server in surroundings.nameservers
        ):
            return candidate
    return _GUEST_IPV4[0]


def _choose_resolvers(
    nameservers: Iterable[Address], never: list[Network], subnets: dict[int, Network]
) -> dict[Address, Address]:
    """Map each name server to the address at which the guest can query it, in order.

    A server at an address that guests may not reach (loopback, the host's own address, link-local) is queried by pasta
    through a stand-in address: `--dns-forward` forwards only DNS, to the first server of a family in resolv.conf.
    """
    chosen: dict[Address, Address] = {}
    first: set[int] = set()
    for server in nameservers:
        subnet = subnets.get(server.version)
        is_first = server.version not in first
        first.add(server.version)
        if subnet is None:
            continue
        if not any(server in network for network in never):
            chosen[server] = server
        elif is_first:
            chosen[server] = subnet[_RESOLVER]
    return chosen


def _interface_address(subnet: Network) -> InterfaceAddress:
    return InterfaceAddress(str(subnet[_GUEST]), subnet.prefixlen, str(subnet[_GATEWAY]))


def _pasta_arguments(resolvers: dict[Address, Address]) -> Iterable[str]:
    yield from ("--quiet", "--foreground", "--config-net", "--ns-ifname", "up0", "--mtu", str(MTU_BYTES), *_CLOSED)
    # Forward nothing from the namespace's loopback to the host's.
    yield from ("--tcp-ns", "none", "--udp-ns", "none")
    # Not with --dns, with which Debian 12's pasta forwards to 0.0.0.0: without it, pasta reads resolv.conf.
    for server, stand_in in resolvers.items():
        if server != stand_in:
            yield from ("--dns-forward", str(stand_in))


def _passt_arguments(guest: GuestNetwork) -> Iterable[str]:
    yield from (
        "--quiet",
        "--foreground",
        "--dns",
        "none",
        "--mac-addr",
        _GATEWAY_MAC,
        "--mtu",
        str(guest.mtu),
        *_CLOSED,
    )
    # The guest is configured by its agent and needs none of these.
    yield from ("--no-dhcp", "--no-dhcpv6", "--no-ra")
    for family in (guest.ipv4, guest.ipv6):
        if family is not None:
            yield from ("--address", family.address, "--gateway", family.gateway)
    if guest.ipv4 is not None:
        yield from ("--netmask", str(guest.ipv4.prefix_length))


# No port of the host is forwarded to the guest, and the gateway's address is not mapped to the host.
_CLOSED = ("--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none")
