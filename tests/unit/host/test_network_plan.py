"""A guest's network is fitted into the host's: addresses, name servers, families."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import pairwise

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.network.plan import EgressPlan, plan_egress
from pyro_mcp.host.network.surroundings import Surroundings, read_nameservers

HOME = Surroundings(
    addresses=tuple(map(ip_interface, ("127.0.0.1/8", "192.168.1.20/24", "::1/128", "fe80::1/64"))),
    default_ipv4=True,
    default_ipv6=False,
    nameservers=(ip_address("192.168.1.1"),),
)
GLOBAL_IPV6 = replace(HOME, addresses=(*HOME.addresses, ip_interface("2001:db8::7/64")), default_ipv6=True)


def asking(*servers: str) -> Surroundings:
    return replace(HOME, nameservers=tuple(map(ip_address, servers)))


def forwarded(plan: EgressPlan) -> list[str]:
    arguments = plan.pasta_arguments
    return [value for name, value in pairwise(arguments) if name == "--dns-forward"]


def test_a_guest_gets_an_address_of_its_own_and_asks_the_hosts_name_server() -> None:
    guest = plan_egress(HOME).guest
    assert guest.ipv4 is not None
    assert ip_address(guest.ipv4.address) in ip_network("10.213.77.0/24")
    assert guest.dns == ("192.168.1.1",)
    assert guest.ipv6 is None


def test_what_the_agent_and_the_users_read_is_this() -> None:
    assert json.loads(json.dumps(plan_egress(GLOBAL_IPV6).guest.to_json())) == {
        "ipv4": {"address": "10.213.77.15", "prefix_length": 24, "gateway": "10.213.77.1"},
        "ipv6": {"address": "fd70:7972:6f::f", "prefix_length": 64, "gateway": "fd70:7972:6f::1"},
        "dns": ["192.168.1.1"],
        "mtu": 65520,
    }
    assert plan_egress(HOME).guest.to_json()["ipv6"] is None


@pytest.mark.parametrize("taken", ["10.213.77.9/24", "10.0.0.1/8"])
def test_the_guests_network_is_not_one_that_the_host_is_in(taken: str) -> None:
    here = replace(HOME, addresses=(*HOME.addresses, ip_interface(taken)))
    guest = plan_egress(here).guest
    assert guest.ipv4 is not None
    assert ip_address(guest.ipv4.address) not in ip_interface(taken).network


def test_the_guests_network_does_not_hide_a_name_server() -> None:
    guest = plan_egress(asking("10.213.77.53")).guest
    assert guest.ipv4 is not None
    assert ip_address("10.213.77.53") not in ip_network(f"{guest.ipv4.address}/24", strict=False)
    assert guest.dns == ("10.213.77.53",)


@pytest.mark.parametrize("server", ["127.0.0.53", "127.0.0.1", "192.168.1.20", "169.254.169.254", "168.63.129.16"])
def test_a_name_server_where_no_guest_may_go_is_asked_by_pasta(server: str) -> None:
    plan = plan_egress(asking(server))
    assert plan.guest.dns == ("10.213.77.3",)
    assert forwarded(plan) == ["10.213.77.3"]


def test_pasta_asks_the_first_server_alone_so_a_later_hidden_one_is_left_out() -> None:
    plan = plan_egress(asking("9.9.9.9", "127.0.0.1"))
    assert plan.guest.dns == ("9.9.9.9",)
    assert forwarded(plan) == []


def test_a_hidden_first_server_is_followed_by_the_others() -> None:
    plan = plan_egress(asking("127.0.0.1", "127.0.0.2", "9.9.9.9"))
    assert plan.guest.dns == ("10.213.77.3", "9.9.9.9")
    assert forwarded(plan) == ["10.213.77.3"]


def test_a_name_server_of_a_family_that_the_guest_lacks_is_left_out() -> None:
    assert plan_egress(asking("2001:db8::53", "9.9.9.9")).guest.dns == ("9.9.9.9",)


def test_ipv6_name_servers_are_asked_where_the_guest_has_ipv6() -> None:
    here = replace(GLOBAL_IPV6, nameservers=tuple(map(ip_address, ("::1", "2001:db8::53", "fe80::1%eth0"))))
    plan = plan_egress(here)
    assert plan.guest.dns == ("fd70:7972:6f::3", "2001:db8::53")
    assert forwarded(plan) == ["fd70:7972:6f::3"]


@pytest.mark.parametrize(
    ("default_ipv4", "address", "families"),
    [(True, "2001:db8::7/64", {4, 6}), (True, "fd00::2/64", {4}), (False, "fd00::2/64", {6})],
)
def test_ipv6_is_given_where_there_is_evidence_that_it_leads_anywhere(
    default_ipv4: bool, address: str, families: set[int]
) -> None:
    here = Surroundings((ip_interface(address),), default_ipv4, True, ())
    plan = plan_egress(here)
    assert {4 if plan.guest.ipv4 else 0, 6 if plan.guest.ipv6 else 0} - {0} == families
    only = {frozenset({4}): "-4", frozenset({6}): "-6"}.get(frozenset(families))
    assert [word for word in plan.pasta_arguments if word in {"-4", "-6"}] == ([only] if only else [])
    assert [word for word in plan.passt_arguments if word in {"-4", "-6"}] == ([only] if only else [])


def test_a_host_without_a_way_out_is_an_error_that_says_so() -> None:
    with pytest.raises(PyroError, match="no default route") as caught:
        plan_egress(replace(HOME, default_ipv4=False))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert "--network" in caught.value.hint


def test_no_port_leads_in_and_the_gateway_does_not_stand_for_the_host() -> None:
    plan = plan_egress(GLOBAL_IPV6)
    for arguments in (plan.pasta_arguments, plan.passt_arguments):
        text = " ".join(arguments)
        assert "--no-map-gw --tcp-ports none --udp-ports none" in text
    assert "--tcp-ns none --udp-ns none" in " ".join(plan.pasta_arguments)


def test_name_servers_are_read_as_glibc_reads_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("etc") / "resolv.conf"
    file.write_text(
        "# a comment\nsearch example.test\nnameserver 10.0.0.1\n  nameserver\t2001:db8::1\nnameserver\n"
        "nameserver nonsense\nnameserver fe80::1%eth0\nnameserver 10.0.0.4\noptions edns0\n"
    )
    assert read_nameservers(str(file)) == tuple(map(ip_address, ("10.0.0.1", "2001:db8::1", "fe80::1%eth0")))


def test_a_host_without_resolv_conf_has_no_name_servers(tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = tmp_path_factory.mktemp("etc") / "resolv.conf"
    assert read_nameservers(str(missing)) == ()
    assert plan_egress(replace(HOME, nameservers=())).guest.dns == ()


def test_this_hosts_own_loopback_is_among_what_the_kernel_says() -> None:
    assert ip_interface("127.0.0.1/8") in Surroundings.observe().addresses
