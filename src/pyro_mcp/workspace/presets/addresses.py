"""The host that an address names: `name` or `name:port`, without credentials, path or query."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from pyro_mcp.errors import PyroError
from pyro_mcp.model.network import HostRule

_MAX_BYTES = 4096
_MAX_NAME = 253
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# `git@host:path`, as ssh and git write it.
_SSH = re.compile(r"(?:[^@/\s:]+@)?([^@/\s:]+):(?!//)[^\s]*")
_NAME = re.compile(r"(?:\*\.)?(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_USUAL_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_LOCAL = ("localhost", "localhost.localdomain")


def without_credentials(url: str) -> str:
    """Return the address without user, password, query and fragment, or "" if it has no host."""
    host, scheme, path = _parts(url)
    return f"{scheme}://{host}{path}" if host and scheme in {"http", "https"} else ""


def host_of(url: str) -> str:
    """Return the host that an address names, or "" if it names none, or this machine.

    `url` may have a prefix such as `git+` or `sparse+`, or the form `user@host:path`. The port is given if it is not
    the usual one of the scheme.
    """
    host, scheme, _ = _parts(url)
    if host or scheme:
        return host
    found = _SSH.fullmatch(url.strip())
    return named(found.group(1)) if found else ""


def named(name: str, port: int | None = None) -> str:
    """Return `name` or `name:port` in its canonical form, or "" if it can't be reached from outside this machine."""
    name = name.strip().rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        text = _ascii(name)
        is_local = text in _LOCAL or text.endswith(".localhost")
        if is_local or len(text) > _MAX_NAME or _NAME.fullmatch(text) is None:
            return ""
        # Digits and dots alone are an address that can't be read, not a name.
        if re.fullmatch(r"[0-9.]+", text):
            return ""
    else:
        if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
            return ""
        text = f"[{address}]" if address.version == 6 and port is not None else str(address)
    text = text if port is None else f"{text}:{port}"
    try:
        return str(HostRule.parse(text))
    except PyroError:
        return ""


def _parts(url: str) -> tuple[str, str, str]:
    """Return host, scheme and path; nothing but empty texts for what is no address with a scheme."""
    url = url.strip()
    if len(url) > _MAX_BYTES or _SCHEME.match(url) is None:
        return "", "", ""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower().rpartition("+")[2]
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port
    except ValueError:
        return "", scheme, ""
    if port == _USUAL_PORTS.get(scheme):
        port = None
    return named(parts.hostname or "", port), scheme, parts.path


def _ascii(name: str) -> str:
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
