"""A hostile guest with `--network-policy allow`, on a host and in an internet of our own.

It may reach some names, and tries the rest in these ways, as root, in one run:

 1. raw addresses with TCP, HTTP and TLS          11. DNS over TCP and UDP to its own resolver
 2. a forbidden name in TLS to an allowed server  12. DNS over HTTPS, DNS over TLS, records with keys for ECH
 3. an allowed name in TLS to a forbidden server  13. an encrypted ClientHello
 4. TLS without a name                            14. a ClientHello in pieces, in two records, or late
 5. another, no, or a second Host in HTTP         15. IPv6, IPv4-mapped, and translated addresses
 6. a second request on a connection              16. allowed names that lead to private and local addresses
 7. requests to a proxy                           17. UDP, QUIC, and ICMP
 8. HTTP that only a server understands, or late  18. names next to allowed ones, and their spellings
 9. CONNECT to an allowed port                    19. other sources, gateways, neighbours, and raw packets
10. DNS over TCP and UDP to another resolver      20. the proxy's own ports, and other ports than a rule's
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host.network import egress_problems
from tests.support.egress_lab import run_lab
from tests.support.red_team import NEVER_REACHED

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.vm

needs_network = pytest.mark.skipif(
    any("/dev/net/tun" in problem.message or "installed" in problem.message for problem in egress_problems()),
    reason="this host gives no guest a network",
)

PAGE, ALERT, ENDED, SILENCE = (
    r"HTTP/1.1 403 ",
    r"alert (112|TLSV1_UNRECOGNIZED_NAME)$",
    r"closed|Connection|BrokenPipe|alert None",
    "silence",
)
ALLOWED_SERVER = r"(?s)HTTP/1.1 200 .*reached 198\.51\.100\.20( as allowed\.test)?\n$"
# What a way is answered with, by the start of its name; the longest start counts.
ANSWERS = {
    "address-tcp": ENDED,
    "address-http": PAGE,
    "address-tls": ALERT,
    "sni-": ALERT,
    "sni-allowed-at-forbidden": ALLOWED_SERVER,
    "host-": PAGE,
    "host-allowed-at-forbidden": ALLOWED_SERVER,
    "host-twice": ENDED,
    "pipelined-request": PAGE,
    "absolute-form": ENDED,
    "newline-first": PAGE,
    "slow-start": PAGE,
    "slow-start-odd-port": ENDED,
    "junk-first": ENDED,
    "connect-": ENDED,
    "connect-allowed-name": PAGE,
    "dns-tcp": "REFUSED$",
    "dns-udp": "REFUSED$",
    "dns-tunnel": "REFUSED$",
    "dns-over-https": ALERT,
    "dns-over-tls": ENDED,
    "dns-https-record": "0 records$",
    "ech": ALERT,
    "split-hello": ALERT,
    "hello-in-two-records": ALERT,
    "slow-hello": ALERT,
    "slow-hello-odd-port": ENDED,
    "slow-split-hello": ENDED,
    "ipv6-": ENDED,
    "ipv4-mapped": PAGE,
    "ipv4-in-nat64": ENDED,
    "rebind-http": PAGE,
    "rebind-tls": ALERT,
    "rebind-tcp": ENDED,
    "udp-": SILENCE,
    "icmp": SILENCE,
    "forbidden-name": "gaierror",
    "trailing-dot": PAGE,
    "upper-case": ALERT,
    "apex-of-wildcard": ALERT,
    "apex-of-wildcard-http": PAGE,
    "ends-like-": PAGE,
    "below-an-exact-name": PAGE,
    "denied-below-wildcard": ALERT,
    "denied-below-wildcard-http": PAGE,
    "denied-below-wildcard-name": "NXDOMAIN$",
    "port-rule-other-port": PAGE,
    "port-rule-other-port-tls": ALERT,
    # passt before 2025 does not tell the guest of every refusal.
    "proxy-port": f"{ENDED}|{SILENCE}",
    "fragments": "sent",
    "middle-of-a-connection": "sent",
    "false-sources": "sent",
    "host-as-source": PAGE,
    "neighbour-as-source": ALERT,
    "another-gateway": PAGE,
    "on-the-link": PAGE,
}
# Ways that begin with a pause of 0.8 or 1.6 s.
PAUSES = {"slow-start": 1.6, "slow-start-odd-port": 1.6, "slow": 0.8, "split": 0.1, "ech-split": 0.1}
# For a guest without KVM on a busy host. Alone, most answers take 5 to 20 ms.
AT_ONCE_S = 0.5
LOGGED = {
    ("203.0.113.20", "tcp"),
    ("203.0.113.20", "http"),
    ("203.0.113.20", "tls"),
    ("203.0.113.53", "tcp"),
    ("shared.test", "http"),
    ("shared.test", "tls"),
    ("allowed.test", "tls"),
    ("allowed.test", "http"),
    ("198.51.100.20", "tcp"),
    ("198.51.100.20", "http"),
    ("198.51.100.20", "tls"),
    ("forbidden.test", "dns"),
    ("forbidden.test", "http"),
    ("forbidden.test", "tls"),
    ("doh.test", "tls"),
    ("secret-data.forbidden.test", "dns"),
    ("secret.wild.test", "tls"),
    ("secret.wild.test", "http"),
    ("wild.test", "tls"),
    ("evilwild.test", "http"),
    ("notallowed.test", "http"),
    ("sub.allowed.test", "http"),
    ("port.test", "http"),
    ("port.test", "tls"),
    *((f"{kind}.rebind.test", protocol) for kind in ("loopback", "host", "private", "metadata", "mapped", "six")
      for protocol in ("http", "tls")),
}  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Mapping[str, Any]:
    """Return what the guest was answered, what was logged, and what arrived at the servers."""
    account = "root" if os.geteuid() == 0 else str(os.geteuid())
    return run_lab("red-team", account, sys.executable)


def _of(table: Mapping[str, Any], way: str, default: object = None) -> Any:
    return table.get(max((start for start in table if way.startswith(start)), key=len, default=""), default)


@needs_network
@pytest.mark.timeout(180)
def test_what_is_allowed_works_before_and_after_all_attempts(seen: Mapping[str, Any]) -> None:
    answers = {way: found["answer"] for way, found in seen["ways"].items() if way.startswith("control-")}
    assert len(answers) == 15
    failed = {
        way: answer for way, answer in answers.items() if not re.search(r"198\.51\.100\.20|^handshake", str(answer))
    }
    assert failed == {}
    assert all("200 OK" in answer for answer in answers["control-kept-alive"])


@needs_network
def test_every_way_is_answered_with_its_kind_of_refusal(seen: Mapping[str, Any]) -> None:
    ways = {way: found for way, found in seen["ways"].items() if not way.startswith("control-")}
    first, second = ways.pop("second-request")["answer"]
    assert re.search(ALLOWED_SERVER, first)
    assert re.match(PAGE, second)
    wrong = {way: found["answer"] for way, found in ways.items() if not re.search(_of(ANSWERS, way), found["answer"])}
    assert wrong == {}


@needs_network
def test_every_refusal_comes_at_once(seen: Mapping[str, Any]) -> None:
    late = {
        way: found["seconds"]
        for way, found in seen["ways"].items()
        if found["answer"] != SILENCE and found["seconds"] > AT_ONCE_S + _of(PAUSES, way, 0.0)
    }
    assert late == {}


@needs_network
def test_nothing_arrives_where_nothing_may(seen: Mapping[str, Any]) -> None:
    assert set(seen["heard_from_the_host"]) == set(NEVER_REACHED)
    assert [event for event in seen["arrived"] if event["address"] in NEVER_REACHED] == []
    assert [event for event in seen["arrived"] if event["kind"] in {"udp", "icmp", "dns-tcp"}] == []


@needs_network
def test_a_shared_server_hears_of_no_forbidden_name_at_its_web_ports(seen: Mapping[str, Any]) -> None:
    names = [event.get("name") or event.get("host", "") for event in seen["arrived"] if event["port"] != 9000]
    assert [name for name in names if re.search(r"shared|forbidden|doh|secret|^wild", name)] == []
    assert [event for event in seen["arrived"] if re.search("CONNECT|://", event.get("request", ""))] == []


@needs_network
def test_the_log_has_every_name_that_was_refused(seen: Mapping[str, Any]) -> None:
    refused = {(entry["host"], entry["protocol"]) for entry in seen["log"] if entry["verdict"] == "refused"}
    assert LOGGED - refused == set()
