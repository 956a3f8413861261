"""Read the host's addresses, default routes and name servers.

They come from the kernel (rtnetlink(7)) and resolv.conf(5), in the network namespace of the calling thread.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

from pyro_mcp.errors import from_os_error, os_errors

RESOLV_CONF = "/etc/resolv.conf"
# glibc queries at most this many (resolv.conf(5), MAXNS).
MAX_NAMESERVERS = 3
_MAX_FILE_BYTES = 65536
_TIMEOUT_S = 5.0

# linux/netlink.h, linux/rtnetlink.h
_NETLINK_ROUTE = 0
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST_DUMP = 0x301
_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26
_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The properties of the host's network that a guest's network depends on."""

    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    default_ipv4: bool
    default_ipv6: bool
    nameservers: tuple[IPv4Address | IPv6Address, ...]

    @classmethod
    def observe(cls) -> Surroundings:
        """Read the current state of the host's network.

        Raises:
            PyroError: if the kernel or resolv.conf can't be read.
        """
        with os_errors("read this host's addresses and routes"):
            defaults = set(_default_route_families())
            addresses = tuple(_addresses())
        return cls(
            addresses=addresses,
            default_ipv4=socket.AF_INET in defaults,
            default_ipv6=socket.AF_INET6 in defaults,
            nameservers=read_nameservers(),
        )


def read_nameservers(path: str = RESOLV_CONF) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the name servers listed in resolv.conf, in order."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_MAX_FILE_BYTES).splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise from_os_error(error, f"read {path}") from error
    found: list[IPv4Address | IPv6Address] = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with suppress(ValueError):
                found.append(ip_address(words[1]))
    return tuple(found[:MAX_NAMESERVERS])


def _addresses() -> Generator[IPv4Interface | IPv6Interface]:
    for body in _dump(_RTM_GETADDR, _RTM_NEWADDR):
        family, prefix_length = struct.unpack_from("BB", body)
        if family not in _FAMILIES:
            continue
        found = dict(_attributes(body[8:]))
        # On a point-to-point link, IFA_ADDRESS is the peer's address and IFA_LOCAL the host's own.
        packed = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
        if packed is not None:
            yield ip_interface((packed, prefix_length))


def _default_route_families() -> Generator[int]:
    for body in _dump(_RTM_GETROUTE, _RTM_NEWROUTE):
        family, length, _, _, table, _, _, kind = struct.unpack_from("8B", body)
        # Without IPv6 connectivity there is an "unreachable" default route: only RTN_UNICAST counts.
        if length == 0 and table == _RT_TABLE_MAIN and kind == _RTN_UNICAST:
            yield family


def _dump(request: int, answer: int) -> Generator[bytes]:
    """Request all objects of a kind from the kernel and yield the body of each answer."""
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        # A zeroed struct ifaddrmsg or rtmsg: every family.
        body = bytes(12)
        netlink.sendto(struct.pack("=IHHII", 16 + len(body), request, _NLM_F_REQUEST_DUMP, 1, 0) + body, (0, 0))
        while True:
            data, offset = netlink.recv(1 << 20), 0
            while offset + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data, offset + 16)[0]
                    raise OSError(number, os.strerror(number))
                if kind == answer:
                    yield data[offset + 16 : offset + length]
                offset += max(16, (length + 3) & ~3)


def _attributes(data: bytes) -> Generator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        yield kind, data[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)
