"""Rules about hosts have one canonical text each, and rules that can't be kept are refused in words."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import MAX_RULES
from pyro_mcp.model.network import HostRule, NetworkRules


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("example.org", "example.org", None, "example.org"),
        ("Example.ORG.", "example.org", None, "example.org"),
        ("*.example.org", "*.example.org", None, "*.example.org"),
        ("example.org:443", "example.org", 443, "example.org:443"),
        ("*.Example.org:8443", "*.example.org", 8443, "*.example.org:8443"),
        ("bücher.example", "xn--bcher-kva.example", None, "xn--bcher-kva.example"),
        ("mirror", "mirror", None, "mirror"),
        ("_dmarc.example.org", "_dmarc.example.org", None, "_dmarc.example.org"),
        ("192.0.2.1", "192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24", None, "192.0.2.0/24"),
        ("10.0.0.0/8:22", "10.0.0.0/8", 22, "10.0.0.0/8:22"),
        ("2001:DB8:0::1", "2001:db8::1", None, "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32", None, "2001:db8::/32"),
        ("[2001:db8::1]", "2001:db8::1", None, "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1", 443, "[2001:db8::1]:443"),
        ("::ffff:192.0.2.1", "192.0.2.1", None, "192.0.2.1"),
    ],
)
def test_a_rule_has_a_canonical_text_that_reads_as_itself(text: str, host: str, port: int | None, shown: str) -> None:
    rule = HostRule.parse(text)
    assert (rule, str(rule), HostRule.parse(shown)) == (HostRule(host, port), shown, rule)


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.", ".", "a..b", "-a.example", "a-.example", "a b", "https://example.org", "example.org/path",
        "example.org:", "example.org:0", "example.org:65536", "example.org:443:1", "example.org:٣", "*.*.example.org",
        "127.1", "0x7f000001", "1.2.3.4.5", "300.1.1.1", "192.0.2.0/33", "[example.org]:1", "[192.0.2.1]:1",
        "fe80::1%eth0", "a" * 64 + ".example", "x." * 130 + "example", "a\nb", "example.org\n", "x" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(PyroError) as caught:
        HostRule.parse(text)
    assert caught.value.code is ErrorCode.INVALID
    assert repr(text[:80]) in caught.value.message
    assert "*.example.org" in caught.value.hint


@given(st.text() | st.from_regex(r"[a-z0-9*.:/\[\]-]{0,20}", fullmatch=True))
def test_any_text_is_a_rule_that_reads_as_itself_or_is_refused(text: str) -> None:
    try:
        rule = HostRule.parse(text)
    except PyroError as error:
        assert error.code is ErrorCode.INVALID  # noqa: PT017 - either outcome is right, a traceback is not
        return
    assert HostRule.parse(str(rule)) == rule
    assert str(rule).isascii()


def test_an_address_is_a_network_of_one_and_a_name_is_none() -> None:
    assert HostRule.parse("192.0.2.1:80").network == ip_network("192.0.2.1/32")
    assert HostRule.parse("2001:db8::/32").network == ip_network("2001:db8::/32")
    assert HostRule.parse("*.example.org").network is None
    assert HostRule.parse("1password.example").network is None


@pytest.mark.parametrize(
    ("policy", "allow", "deny", "is_filtered"),
    [
        (NetworkPolicy.OFF, (), (), False),
        (NetworkPolicy.EGRESS, (), (), False),
        (NetworkPolicy.EGRESS_PUBLISHED_PORTS, (), (), False),
        (NetworkPolicy.EGRESS, (), ("example.org",), True),
        (NetworkPolicy.PACKAGES, (), (), True),
        (NetworkPolicy.PACKAGES, ("example.org",), ("*.example.org",), True),
        (NetworkPolicy.ALLOW, ("10.0.0.0/8",), (), True),
    ],
)
def test_rules_are_filtered_if_some_hosts_are_out_of_reach(
    policy: NetworkPolicy, allow: tuple[str, ...], deny: tuple[str, ...], *, is_filtered: bool
) -> None:
    rules = NetworkRules.parse(policy, allow, deny)
    assert (rules.is_filtered, rules.allow_hosts, rules.deny_hosts) == (is_filtered, allow, deny)


@pytest.mark.parametrize(
    ("policy", "allow", "deny", "message", "hint"),
    [
        (NetworkPolicy.OFF, ("a.example",), (), "hosts are allowed, but the network policy is 'off'", "packages"),
        (NetworkPolicy.EGRESS, ("a.example",), (), "hosts are allowed, but the network policy is 'egress'", "packages"),
        (NetworkPolicy.OFF, (), ("a.example",), "hosts are denied, but the network policy is 'off'", "Omit them"),
        (NetworkPolicy.ALLOW, (), ("a.example",), "the network policy 'allow' names no host", "--allow-host HOST"),
    ],
)
def test_hosts_that_do_not_fit_the_policy_are_refused_with_one_that_does(
    policy: NetworkPolicy, allow: tuple[str, ...], deny: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(PyroError, match=message) as caught:
        NetworkRules.parse(policy, allow, deny)
    assert caught.value.code is ErrorCode.INVALID
    assert hint in caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.0/8", "::1", "169.254.169.254:80", "fe80::/10", "224.0.0.1",
                                  "::ffff:127.0.0.1", "0.0.0.0"])  # fmt: skip
def test_loopback_and_link_local_addresses_can_be_denied_but_never_allowed(host: str) -> None:
    with pytest.raises(PyroError, match="no guest reaches loopback, link-local or multicast"):
        NetworkRules.parse(NetworkPolicy.ALLOW, [host])
    assert NetworkRules.parse(NetworkPolicy.EGRESS, (), [host]).is_filtered


def test_a_rule_given_twice_counts_once_and_too_many_are_refused() -> None:
    rules = NetworkRules.parse(NetworkPolicy.ALLOW, ["b.example", "a.example", "B.example."])
    assert rules.allow_hosts == ("b.example", "a.example")
    many = [f"a{number}.example" for number in range(MAX_RULES)]
    assert len(NetworkRules.parse(NetworkPolicy.ALLOW, many).allow) == MAX_RULES
    with pytest.raises(PyroError, match=f"there are {MAX_RULES + 1} hosts to allow or deny"):
        NetworkRules.parse(NetworkPolicy.ALLOW, many, ["b.example"])
