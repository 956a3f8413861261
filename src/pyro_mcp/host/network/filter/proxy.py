"""The configuration of HAProxy, which takes a filtered guest's TCP connections.

A connection is allowed by the name in its TLS ClientHello or HTTP request, and then made to an address that this name
is resolved to at that moment, whatever address the guest asked for. One of another protocol is allowed by its address,
if an allowed name was resolved to that, or if a rule names the address. A TLS client that is refused gets an alert, an
HTTP client a page, any other a reset.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from pyro_mcp.host.network.filter.settings import NAMED_PORT, OTHER_PORT, names, networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.host.network.filter.settings import FilterSettings

#: How long the proxy waits for the first bytes of a connection to an allowed address before it takes the protocol for
#: one in which the server speaks first.
_SERVER_FIRST_MS = 300

# `so_id` 1 is NAMED_PORT, on which any protocol is allowed. In the lookups, a later rule wins: `deny` comes last.
_CONFIG = Template(r"""global
  maxconn 1000
  nbthread 1
  tune.ssl.cachesize 0
  log fd@1 len 1024 format raw local0 info
  lua-load $directory/hello.lua
  stats socket unix@$directory/admin mode 600 level admin
defaults
  mode tcp
  log global
  timeout connect 10s
  timeout client 2h
  timeout server 2h
  timeout client-fin 30s
  retries 0
  timeout http-request 30s
resolvers own
  nameserver dnsmasq 127.0.0.1:53
  accepted_payload_size 4096
  resolve_retries 3
  timeout resolve 1s
  timeout retry 1s
  hold valid 10s
  hold nx 1s
  hold refused 1s
$connections
$silent
backend outside
  server any 0.0.0.0:0
# A client that waits long enough before it begins is taken for one whose server speaks first. The answer tells.
backend raw
  tcp-response inspect-delay 2h
  acl late_tls res.payload(0,1) -m bin 15 16
  acl late_tls_too res.payload(1,1) -m bin 03
  acl late_http res.payload(0,1) -m str H
  acl late_http_too res.payload(0,5) -m str HTTP/
  tcp-response content set-var(sess.verdict) str(refused) if late_tls late_tls_too or late_http late_http_too
  tcp-response content set-var(sess.reason) str(protocol) if late_tls late_tls_too or late_http late_http_too
  tcp-response content reject if late_tls late_tls_too or late_http late_http_too
  server any 0.0.0.0:0
backend to_silent
  server silent abns@pyro-silent-$generation send-proxy-v2
backend to_web
  server web abns@pyro-web-$generation send-proxy-v2
backend refused_tls
  server alert abns@pyro-alert-$generation
# Without a certificate, the answer to every name is the alert unrecognized_name.
frontend alert
  bind abns@pyro-alert-$generation ssl strict-sni
  no log
  default_backend nowhere
backend nowhere
frontend web
  mode http
  bind abns@pyro-web-$generation accept-proxy
  timeout client 2h
  timeout http-keep-alive 2h
  log-format "tcp %Ts.%ms %[var(txn.verdict)] http ${log_address} %[var(txn.name),hex] ${log_end_txn}"
  acl allowed var(txn.rule) -m beg allow
  http-request set-var(txn.verdict) str(refused)
  http-request set-var(txn.port) dst_port
  http-request set-var(txn.name) req.hdr(host),host_only,lower,regsub(\.$$,)
  http-request set-var(txn.name_port) var(txn.name),concat(:,txn.port)
$http_lookups
  http-request set-var(txn.reason) str(host) if !allowed
  # A request to a proxy names where it really goes to in its first line.
  http-request set-var(txn.reason) str(tunnel) if METH_CONNECT or { url_beg -i http:// https:// ftp:// }
  acl refused var(txn.reason) -m found
  http-request return status 403 content-type text/plain hdr Connection close lf-string "$page" if refused
$http_unnamed
  http-request do-resolve(txn.ip,own,$first_family) var(txn.name) if !{ var(txn.ip) -m found }
  http-request do-resolve(txn.ip,own,$second_family) var(txn.name) if !{ var(txn.ip) -m found }
  http-request set-var(txn.reason) str(no_address) if !{ var(txn.ip) -m found }
  http-request return status 502 content-type text/plain lf-string "$unresolved" if refused
  http-request set-var(txn.reason) str(inside) if { var(txn.ip) -m ip -f $directory/inside }$unopened_txn
  http-request return status 403 content-type text/plain hdr Connection close lf-string "$inside_page" if refused
  http-request set-dst var(txn.ip)
  http-request set-var(txn.verdict) str(allowed)
  default_backend web_outside
backend web_outside
  mode http
  server any 0.0.0.0:0
""")
# Both frontends for connections: the first, and the one for clients that have not said anything yet.
_CONNECTIONS = Template(r"""frontend $frontend
$binds
  log-format "tcp %Ts.%ms %[var(sess.verdict)] %[var(sess.kind)] ${log_address} %[var(sess.name),hex] ${log_end_sess}"
  acl from_named so_id 1 3 5
  acl tls req.ssl_hello_type 1
  acl allowed var(sess.rule) -m beg allow
  acl inside var(sess.ip) -m ip -f $directory/inside
$address_acls
  tcp-request inspect-delay $delay
  tcp-request connection set-var(sess.port) dst_port
  tcp-request content set-var(sess.kind) str(tcp)
  tcp-request content set-var(sess.verdict) str(refused)
$address_rules
  # HAProxy learns the address that a redirected connection was for with IPv4 only. Clients try IPv4 next.
  tcp-request content set-var(sess.reason) str(address) if { so_id 3 4 }
  tcp-request content reject if { so_id 3 4 }
  # An address that no name led to, at a port where nobody speaks TLS or HTTP first: nothing to wait for.
  tcp-request content set-var(sess.reason) str(address) if !from_named !web_port
  tcp-request content reject if !from_named !web_port
  tcp-request content set-log-level silent if HTTP
  tcp-request content accept if HTTP
  tcp-request content set-var(sess.kind) str(tls) if tls
  tcp-request content set-var(sess.name) req.ssl_sni,lower,regsub(\.$$,) if tls
  tcp-request content set-var(sess.name_port) var(sess.name),concat(:,sess.port) if tls
$tls_lookups
  tcp-request content set-var(sess.reason) str(host) if tls
  tcp-request content set-var(sess.reason) str(no_name) if tls !{ var(sess.name) -m len gt 0 }
  tcp-request content set-var(sess.rule) str($unnamed_rule) if tls !{ var(sess.name) -m len gt 0 }
  tcp-request content set-var(sess.reason) str(hidden_name) if tls { lua.hides_name eq 1 }
  tcp-request content set-var(sess.rule) str(deny) if tls { lua.hides_name eq 1 }
  tcp-request content do-resolve(sess.ip,own,$first_family) var(sess.name) if tls allowed
  tcp-request content do-resolve(sess.ip,own,$second_family) var(sess.name) if tls allowed !{ var(sess.ip) -m found }
  tcp-request content set-var(sess.reason) str(inside) if tls allowed inside$unopened
  tcp-request content set-var(sess.rule) str(deny) if tls allowed inside$unopened
  tcp-request content set-dst var(sess.ip) if tls allowed { var(sess.ip) -m found }
  tcp-request content set-var(sess.verdict) str(allowed) if tls allowed { var(sess.ip) -m found }
  tcp-request content set-var(sess.reason) str(no_address) if tls allowed !{ var(sess.ip) -m found }
  tcp-request content accept if tls
$if_silent
  # What HAProxy does not understand could be a request that a server understands, for a name that is not allowed.
  tcp-request content set-var(sess.reason) str(protocol) if from_named strict_port !{ req.payload(0,4) -m str SSH- }
  acl record req.payload(0,1) -m bin 16
  acl of_tls req.payload(1,1) -m bin 03
  tcp-request content set-var(sess.reason) str(protocol) if from_named record of_tls
  tcp-request content set-var(sess.reason) str(protocol) if from_named { lua.mentions_http eq 1 }
  tcp-request content set-var(sess.reason) str(inside) if from_named { dst -f $directory/inside }$unopened_dst
  tcp-request content reject if { var(sess.reason) -m found }
  tcp-request content set-var(sess.verdict) str(allowed) if from_named
  tcp-request content set-var(sess.rule) str($address_rule) if from_named
  tcp-request content accept if from_named
  tcp-request content set-var(sess.reason) str(address)
  tcp-request content reject
  use_backend to_web if HTTP !by_address
  use_backend refused_tls if tls !{ var(sess.verdict) -m str allowed }
$to_silent
  use_backend raw if from_named !tls !by_address
  default_backend outside""")
_PAGE = (
    r"%[var(txn.name)] was refused by the network policy of this sandbox ($policy).\n"
    r"To allow it, run on the host: $command %[var(txn.name)]\n"
)
_UNRESOLVED = r"%[var(txn.name)] is allowed by the network policy of this sandbox, but has no address.\n"
_INSIDE_PAGE = (
    r"%[var(txn.name)] is allowed by the network policy of this sandbox, but leads to a private or local address, "
    r"which is not.\n"
)
# A request without a name, or with an address in its place, goes to the address that the guest asked for.
_UNNAMED = r"  http-request set-var(txn.ip) dst if { var(txn.name) -m reg ^[0-9.]*$ } || { req.hdr(host) -m beg [ }"
# The ports where TLS or HTTP is expected although no name led to the address.
_WEB_PORTS = "80 443 3000 5000 8000 8008 8080 8081 8443 8888"
_IF_SILENT = """\
  acl spoke req.payload(0,1) -m found
  tcp-request content set-log-level silent if from_named strict_port !spoke
  tcp-request content set-var(sess.silent) bool(true) if from_named strict_port !spoke
  tcp-request content accept if from_named strict_port !spoke"""
# The ports where only TLS, HTTP and SSH are spoken, by any server that has several names at one address.
_STRICT_PORTS = "80 443 8080 8443"
_SILENT_MS = 60_000
EXACT_MAP, SUFFIX_MAP = "exact.map", "suffix.map"


def haproxy_config(settings: FilterSettings, *, directory: str, generation: int, families: tuple[int, ...]) -> str:
    """Return the configuration; its maps are in the same directory (`rule_maps`), and so is the list `inside`."""
    first, second = ("ipv4", "ipv6") if 4 in families else ("ipv6", "ipv4")
    page = Template(_PAGE).substitute(policy=settings.policy, command=settings.allow_command)
    opened = " ".join(str(rule.network) for rule in networks(settings.allow))
    values = {
        "directory": directory,
        "log_address": "%[dst] %[dst_port]",
        "log_end_sess": "%U %B %[var(sess.rule)] %[var(sess.reason)]",
        "log_end_txn": "%U %B %[var(txn.rule)] %[var(txn.reason)]",
        "generation": str(generation),
        "address_acls": "\n".join(_address_acls(settings)),
        "address_rules": "\n".join(_address_rules(settings)),
        "tls_lookups": "\n".join(_lookups(settings, "tcp-request content", "sess", directory, " if tls")),
        "http_lookups": "\n".join(_lookups(settings, "http-request", "txn", directory, "")),
        "unnamed_rule": "deny" if settings.deny or not settings.default_allowed else "allow:egress",
        "address_rule": "allow:egress" if settings.default_allowed else "allow:address",
        "http_unnamed": _UNNAMED if settings.default_allowed else "",
        "unopened": f" !{{ var(sess.ip) -m ip {opened} }}" if opened else "",
        "unopened_txn": f" !{{ var(txn.ip) -m ip {opened} }}" if opened else "",
        "unopened_dst": f" !{{ dst {opened} }}" if opened else "",
        "first_family": first,
        "second_family": second,
        "page": page,
        "unresolved": _UNRESOLVED,
        "inside_page": _INSIDE_PAGE,
    }
    return _CONFIG.substitute(values, **_both_frontends(values, generation, families))


def _both_frontends(values: dict[str, str], generation: int, families: tuple[int, ...]) -> dict[str, str]:
    binds = [f"  bind 0.0.0.0:{port} id {number}" for port, number in ((NAMED_PORT, 1), (OTHER_PORT, 2))]
    if 6 in families:
        binds += [f"  bind :::{port} v6only id {number}" for port, number in ((NAMED_PORT, 3), (OTHER_PORT, 4))]
    first = {
        "frontend": "connections",
        "binds": "\n".join(binds),
        "delay": f"{_SERVER_FIRST_MS}ms",
        "if_silent": _IF_SILENT,
        "to_silent": "  use_backend to_silent if { var(sess.silent) -m bool }",
    }
    silent = {
        "frontend": "silent",
        "binds": f"  bind abns@pyro-silent-{generation} accept-proxy id 5",
        "delay": f"{_SILENT_MS}ms",
        "if_silent": "",
        "to_silent": "",
    }
    return {
        "connections": _CONNECTIONS.substitute(values, **first),
        "silent": _CONNECTIONS.substitute(values, **silent),
    }


def rule_maps(settings: FilterSettings) -> dict[str, str]:
    """Return the files that map names to rules: whole names, and the ends of names below a wildcard.

    A key of a rule with a port ends with the port. Denials come first, so that a name that is in both is denied.
    """
    exact: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    for verdict, rules in (("deny", settings.deny), ("allow", settings.allow)):
        for rule in names(rules):
            port = "" if rule.port is None else f":{rule.port}"
            kept = suffixes if rule.host.startswith("*.") else exact
            kept.setdefault(rule.host.removeprefix("*") + port, f"{verdict}:{rule}")
    return {
        f"{verdict}-{name}": "".join(f"{key} {value}\n" for key, value in kept.items() if value.startswith(verdict))
        for name, kept in ((EXACT_MAP, exact), (SUFFIX_MAP, suffixes))
        for verdict in ("allow", "deny")
    }


def _lookups(settings: FilterSettings, action: str, scope: str, directory: str, condition: str) -> Iterator[str]:
    if settings.default_allowed:
        yield f"  {action} set-var({scope}.rule) str(allow:egress){condition}"
    for verdict in ("allow", "deny"):
        for name, converter in ((SUFFIX_MAP, "map_end"), (EXACT_MAP, "map_str")):
            for variable in ("name", "name_port"):
                lookup = f"var({scope}.{variable}),{converter}({directory}/{verdict}-{name})"
                yield f"  {action} set-var({scope}.rule) {lookup}{condition}"


def _address_acls(settings: FilterSettings) -> Iterator[str]:
    yield f"  acl web_port dst_port {_WEB_PORTS} {_ports_of(settings)}".rstrip()
    yield f"  acl strict_port dst_port {_STRICT_PORTS}"
    yield "  acl by_address var(sess.by_address) -m bool"
    for kind, rules in (("allow", settings.allow), ("deny", settings.deny)):
        for number, rule in enumerate(networks(rules)):
            yield f"  acl {kind}_net_{number} dst {rule.network}"
            if rule.port is not None:
                yield f"  acl {kind}_port_{number} dst_port {rule.port}"


def _ports_of(settings: FilterSettings) -> str:
    return " ".join(
        str(port) for port in sorted({rule.port for rule in names(settings.allow) if rule.port is not None})
    )


def _address_rules(settings: FilterSettings) -> Iterator[str]:
    for number, rule in enumerate(networks(settings.deny)):
        condition = f"deny_net_{number}" + ("" if rule.port is None else f" deny_port_{number}")
        yield f"  tcp-request content set-var(sess.rule) str(deny:{rule}) if {condition}"
        yield f"  tcp-request content set-var(sess.reason) str(address) if {condition}"
        yield f"  tcp-request content reject if {condition}"
    for number, rule in enumerate(networks(settings.allow)):
        condition = f"allow_net_{number}" + ("" if rule.port is None else f" allow_port_{number}")
        yield f"  tcp-request content set-var(sess.rule) str(allow:{rule}) if {condition}"
        yield f"  tcp-request content set-var(sess.verdict) str(allowed) if {condition}"
        yield f"  tcp-request content set-var(sess.by_address) bool(true) if {condition}"
        yield f"  tcp-request content accept if {condition}"
