"""The hosts that a guest may reach: single rules, and the rules of a guest with its policy.

A refusal wins over a permission. Rules are texts in records, and parsed where they are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.limits import MAX_RULE_CHARS, MAX_RULES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

_MAX_NAME_CHARS = 253
_MAX_PORT = 65535
_SHOWN_CHARS = 80
_FORMS = (
    "Use example.org, *.example.org, 192.0.2.0/24 or 2001:db8::1; with a port example.org:443 or [2001:db8::1]:443."
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A resolver takes a name that ends so for an address: 127.1, 0x7f000001.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]*)\](?::(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class HostRule:
    """One host, or several: a name, the subdomains of a name (`*.example.org`), an address, or a network.

    `host` is lower-case ASCII. Without a `port` it is about every TCP port.
    """

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """Return the rule that a text describes.

        Raises:
            PyroError: INVALID.
        """
        host, port = _split(text)
        return cls(_network_text(host) or _name(host, text), port)

    @property
    def network(self) -> IPv4Network | IPv6Network | None:
        """Return the network, or the address as a network of one; None for a name."""
        return _network(self.host)

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Ruled(Protocol):
    """A VM or a workspace: a record with a network policy."""

    @property
    def network_policy(self) -> NetworkPolicy: ...  # noqa: D102
    @property
    def allow_hosts(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def deny_hosts(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """A network policy with the hosts that are allowed or denied beside it."""

    policy: NetworkPolicy
    allow: tuple[HostRule, ...] = ()
    deny: tuple[HostRule, ...] = ()

    def __post_init__(self) -> None:
        """Check that the rules fit the policy.

        Raises:
            PyroError: INVALID.
        """
        if len(self.allow) + len(self.deny) > MAX_RULES:
            raise PyroError(
                ErrorCode.INVALID,
                f"there are {len(self.allow) + len(self.deny)} hosts to allow or deny",
                hint=f"Give at most {MAX_RULES}; *.example.org and 192.0.2.0/24 include many.",
            )
        if self.allow and not self.policy.takes_allowed:
            raise _unfitting(self.policy, "allowed", "Use `--network-policy allow` or `packages`.")
        if self.deny and not self.policy.has_network:
            raise _unfitting(self.policy, "denied", "Omit them, or use another `--network-policy`.")
        if self.policy is NetworkPolicy.ALLOW and not self.allow:
            raise PyroError(
                ErrorCode.INVALID,
                "the network policy 'allow' names no host",
                hint="Give `--allow-host HOST`, or use the network policy off.",
            )
        for rule in self.allow:
            _check_can_be_reached(rule)

    @classmethod
    def parse(cls, policy: NetworkPolicy, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> NetworkRules:
        """Return the rules that texts describe, each once.

        Raises:
            PyroError: INVALID.
        """
        # A dictionary keeps the order.
        parsed = [tuple(dict.fromkeys(map(HostRule.parse, texts))) for texts in (allow, deny)]
        return cls(policy, *parsed)

    @classmethod
    def of(cls, record: Ruled) -> NetworkRules:
        """Return the rules of a VM or a workspace.

        Raises:
            PyroError: INVALID if its record was damaged.
        """
        return cls.parse(record.network_policy, record.allow_hosts, record.deny_hosts)

    @property
    def is_filtered(self) -> bool:
        """Return whether some of the internet's hosts are out of reach."""
        return self.policy.takes_allowed or bool(self.deny)

    @property
    def allow_hosts(self) -> tuple[str, ...]:
        """Return the allowed hosts as texts."""
        return tuple(map(str, self.allow))

    @property
    def deny_hosts(self) -> tuple[str, ...]:
        """Return the denied hosts as texts."""
        return tuple(map(str, self.deny))


def _split(text: str) -> tuple[str, int | None]:
    """Return the host of a rule and its port."""
    if not text or len(text) > MAX_RULE_CHARS:
        raise _invalid(text, "is no host")
    if "://" in text:
        raise _invalid(text, "is a URL, and a host is needed")
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        if ":" not in bracketed["host"]:
            raise _invalid(text, "has no IPv6 address in its brackets")
        return bracketed["host"], None if bracketed["port"] is None else _port(bracketed["port"], text)
    if text.count(":") == 1:
        host, port = text.split(":")
        return host, _port(port, text)
    return text, None


def _port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT)) and 1 <= int(port) <= _MAX_PORT):
        raise _invalid(text, f"has no port from 1 to {_MAX_PORT} behind its colon")
    return int(port)


def _network(host: str) -> IPv4Network | IPv6Network | None:
    # Loaded only for a rule that can be one: most VMs have none.
    if ":" not in host and not host[:1].isdigit():
        return None
    from ipaddress import ip_network

    try:
        return ip_network(host, strict=False)
    except ValueError:
        return None


def _network_text(host: str) -> str:
    """Return the canonical text of an address or a network, or ""."""
    network = None if "%" in host else _network(host)
    if network is None:
        return ""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen == network.max_prefixlen:
        return str(mapped)
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _name(host: str, text: str) -> str:
    """Return the canonical form of a name."""
    is_wildcard = host.startswith("*.")
    name = host.removeprefix("*.").removesuffix(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise _invalid(text, "is no name of a host") from None
    labels = name.split(".")
    if len(name) > _MAX_NAME_CHARS or not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
        raise _invalid(text, "is neither a name nor an address")
    return f"*.{name}" if is_wildcard else name


def _check_can_be_reached(rule: HostRule) -> None:
    network = rule.network
    if network is None:
        return
    if network.is_loopback or network.is_link_local or network.is_multicast or network.is_unspecified:
        raise PyroError(
            ErrorCode.INVALID,
            f"{str(rule)!r} can't be allowed: no guest reaches loopback, link-local or multicast addresses",
            hint="A guest reaches this host only through ports that it publishes.",
            details={"host": str(rule)},
        )


def _unfitting(policy: NetworkPolicy, what: str, hint: str) -> PyroError:
    reaches = "reaches every host" if policy.has_network else "reaches no host"
    return PyroError(
        ErrorCode.INVALID,
        f"hosts are {what}, but the network policy is {policy.value!r}, which {reaches}",
        hint=hint,
        details={"network_policy": policy.value},
    )


def _invalid(text: str, why: str) -> PyroError:
    return PyroError(ErrorCode.INVALID, f"{text[:_SHOWN_CHARS]!r} {why}", hint=_FORMS, details={"host": text})
