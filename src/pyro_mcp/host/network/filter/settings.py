"""What a filtered guest may reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from pyro_mcp.model.network import HostRule

#: Where haproxy listens in the namespace: for connections to addresses that an allowed name was resolved to, and for
#: all others. No program takes a port below 32768 by itself.
NAMED_PORT, OTHER_PORT = 3128, 3129


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """The rules of one guest.

    With `default_allowed`, hosts that no rule names are allowed, and `allow` is empty. `deny` wins over `allow`.
    `policy` and `allow_command` are shown to whoever is refused; a host's name is appended to the command.
    """

    allow: tuple[HostRule, ...]
    deny: tuple[HostRule, ...]
    default_allowed: bool
    policy: str
    allow_command: str


@dataclass(frozen=True, slots=True)
class Enforced:
    """What a network enforces: the packet filter's text, and what its programs are configured with."""

    rules: str
    resolvers: tuple[IPv4Address | IPv6Address, ...]
    #: The address families that the guest has: 4, 6.
    families: tuple[int, ...]
    settings: FilterSettings | None
    #: The networks that no name opens.
    inside: tuple[IPv4Network | IPv6Network, ...] = ()


def names(rules: Iterable[HostRule]) -> Iterator[HostRule]:
    """Yield the rules that are about names."""
    return (rule for rule in rules if rule.network is None)


def networks(rules: Iterable[HostRule]) -> Iterator[HostRule]:
    """Yield the rules that are about addresses."""
    return (rule for rule in rules if rule.network is not None)


def named_set(version: int, port: int | None) -> str:
    """Return the name of the packet filter's set of addresses that allowed names were resolved to.

    A rule with a port has a set of its own, so that its addresses are open at that port only.
    """
    return f"named_ipv{version}" if port is None else f"named_ipv{version}_{port}"


def named_ports(settings: FilterSettings) -> list[int | None]:
    """Return the ports that have such sets, in order; None is the set for every port."""
    ports = {rule.port for rule in names(settings.allow)}
    return sorted(ports, key=lambda port: -1 if port is None else port)


def named_sets(settings: FilterSettings) -> list[str]:
    """Return the names of all these sets."""
    return [named_set(version, port) for port in named_ports(settings) for version in (4, 6)]
