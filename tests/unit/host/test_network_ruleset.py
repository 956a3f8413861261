"""The packet filter names everything that must be out of reach, and the kernel takes it."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.host import process
from pyro_mcp.host.network.ruleset import local_networks, never_reached, ruleset
from pyro_mcp.host.network.surroundings import Surroundings

HERE = Surroundings(
    addresses=tuple(
        map(ip_interface, ("127.0.0.1/8", "198.51.100.7/28", "203.0.113.9/32", "10.8.0.1/8", "2001:db8:9::7/64"))
    ),
    default_ipv4=True,
    default_ipv6=True,
    nameservers=(),
)


def refused_by(rules: str) -> list[IPv4Network | IPv6Network]:
    sets = re.findall(r"ip6? daddr \{ (.*) \} goto refuse", rules)
    assert len(sets) == 2
    return [ip_network(text) for line in sets for text in line.split(", ")]


def is_refused(rules: str, address: str) -> bool:
    return any(ip_address(address) in network for network in refused_by(rules))


DEFAULT = ruleset([*never_reached(HERE), *local_networks(HERE)], [])
PRIVATE = ruleset(never_reached(HERE), [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "169.254.169.254", "169.254.170.2", "224.0.0.251", "255.255.255.255",
        "168.63.129.16", "100.100.100.200", "198.51.100.7", "203.0.113.9", "10.8.0.1", "2001:db8:9::7", "::1", "::",
        "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "fe80::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
        "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::198.51.100.7", "2002:7f00:1::", "2002:c633:6407::1",
    ],
)  # fmt: skip
def test_no_policy_reaches_it(address: str) -> None:
    assert is_refused(DEFAULT, address)
    assert is_refused(PRIVATE, address)


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "198.51.100.1", "fd12::1", "fec0::1",
     "2001:db8:9::8", "64:ff9b::10.1.2.3", "64:ff9b:1::1", "2002:a01:203::1"],
)  # fmt: skip
def test_a_local_address_is_reached_only_by_choice(address: str) -> None:
    assert is_refused(DEFAULT, address)
    assert not is_refused(PRIVATE, address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "198.51.100.16", "203.0.113.10", "172.32.0.1", "100.128.0.1", "2001:db8:a::1", "64:ff9b::1.1.1.1"],
)
def test_the_world_is_reached(address: str) -> None:
    assert not is_refused(DEFAULT, address)


def test_a_network_too_wide_to_be_local_costs_only_the_hosts_own_address() -> None:
    wide = replace(HERE, addresses=(ip_interface("8.8.8.8/2"), ip_interface("2001:db8::7/16")))
    rules = ruleset([*never_reached(wide), *local_networks(wide)], [])
    assert is_refused(rules, "8.8.8.8")
    assert is_refused(rules, "2001:db8::7")
    assert not is_refused(rules, "9.9.9.9")
    assert not is_refused(rules, "2001:db8::8")


def test_a_resolver_in_a_refused_network_is_reached_on_the_port_of_dns_alone() -> None:
    rules = ruleset([ip_network("10.0.0.0/8")], [ip_address("10.0.0.53"), ip_address("fd00::53")])
    lines = [line.strip() for line in rules.splitlines()]
    assert "ip daddr 10.0.0.53 meta l4proto { tcp, udp } th dport 53 accept" in lines
    assert "ip6 daddr fd00::53 meta l4proto { tcp, udp } th dport 53 accept" in lines
    assert is_refused(rules, "10.0.0.53")


def _ipv4(number: int, bits: int) -> IPv4Network:
    return IPv4Network((number, bits), strict=False)


def _ipv6(number: int, bits: int) -> IPv6Network:
    return IPv6Network((number, bits), strict=False)


networks = st.one_of(
    st.builds(_ipv4, st.integers(0, 2**32 - 1), st.integers(1, 32)),
    st.builds(_ipv6, st.integers(0, 2**128 - 1), st.integers(1, 128)),
)


@given(st.lists(networks, min_size=1, max_size=20))
def test_overlapping_networks_are_joined_without_losing_an_address(refused: list[IPv4Network | IPv6Network]) -> None:
    rules = ruleset([*refused, IPv4Network("127.0.0.0/8"), IPv6Network("::/96")], [])
    joined = refused_by(rules)
    for network in refused:
        assert any(kept.version == network.version and _holds(kept, network) for kept in joined)
    for one in joined:
        assert not any(other is not one and other.version == one.version and _holds(other, one) for other in joined)


def _holds(outer: IPv4Network | IPv6Network, inner: IPv4Network | IPv6Network) -> bool:
    first, last = int(outer.network_address), int(outer.broadcast_address)
    return first <= int(inner.network_address) and int(inner.broadcast_address) <= last


@pytest.mark.parametrize("rules", [DEFAULT, PRIVATE])
def test_the_kernel_takes_the_rules(rules: str) -> None:
    resolvers: list[IPv4Address | IPv6Address] = [IPv4Address("10.0.0.53"), IPv6Address("fd00::53")]
    more = ruleset([*never_reached(HERE), *local_networks(HERE)], resolvers)
    for text in (rules, more):
        script = f"printf %s '{text}' | nft -f - && nft list ruleset"
        listed = process.run(["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script], timeout_s=20.0).text
        assert listed.count("policy drop") == 3
        assert "127.0.0.0/8" in listed
