"""Configure the guest's network interface with ioctls rather than by running programs.

The reachable networks are restricted on the host, where the guest can't interfere.

The request structures are `struct ifreq`, `struct rtentry` (netdevice(7), rtnetlink's older sibling in net/route.h),
`struct in6_ifreq` and `struct in6_rtmsg` (linux/ipv6.h, linux/ipv6_route.h).
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import cast

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.system.names import text_of
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document

INTERFACE = "eth0"

_SIOCADDRT = 0x890B
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_SIOCSIFMTU = 0x8922
_SIOCGIFINDEX = 0x8933
_IFF_UP = 0x1
_RTF_UP = 0x1
_RTF_GATEWAY = 0x2
_DEFAULT_METRIC = 1024


def raise_loopback() -> None:
    """Bring up the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _raise(control, "lo")


def configure_network(network: Document) -> None:
    """Set the interface's addresses and default routes.

    Raises:
        RefusalError: if a field is invalid, or there is no interface.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            mtu = network.get("mtu")
            if isinstance(mtu, int) and mtu:
                fcntl.ioctl(control, _SIOCSIFMTU, _request(INTERFACE, struct.pack("i", mtu)))
            ipv4, ipv6 = network.get("ipv4"), network.get("ipv6")
            if ipv4 is not None:
                _set_ipv4(control, cast("Document", ipv4))
            _raise(control, INTERFACE)
        if ipv6 is not None:
            _set_ipv6(cast("Document", ipv6))
    except (OSError, ValueError) as error:
        raise RefusalError(wire.SYSTEM, f"the network can't be set up: {error}") from error


def _set_ipv4(control: socket.socket, network: Document) -> None:
    address = socket.inet_aton(text_of(network, "address"))
    mask = ((1 << 32) - 1 << 32 - _prefix(network, 32) & (1 << 32) - 1).to_bytes(4, "big")
    fcntl.ioctl(control, _SIOCSIFADDR, _request(INTERFACE, _address(address)))
    fcntl.ioctl(control, _SIOCSIFNETMASK, _request(INTERFACE, _address(mask)))
    # A route needs an interface that is up.
    _raise(control, INTERFACE)
    gateway = network.get("gateway")
    if gateway:
        # pad1, dst, gateway, genmask, flags, pad2..4, metric, dev, mtu, window, irtt: see net/route.h.
        route = struct.pack(
            "L16s16s16sHhLLhxxxxxxLLLH6x",
            0,
            _address(bytes(4)),
            _address(socket.inet_aton(str(gateway))),
            _address(bytes(4)),
            _RTF_UP | _RTF_GATEWAY,
            *(0,) * 8,
        )
        fcntl.ioctl(control, _SIOCADDRT, route)


def _set_ipv6(network: Document) -> None:
    # On this point-to-point link there are no duplicate addresses to detect, and no router announcements.
    for name, value in {"accept_dad": "0", "accept_ra": "0", "autoconf": "0"}.items():
        with open(f"/proc/sys/net/ipv6/conf/{INTERFACE}/{name}", "w", encoding="ascii") as file:
            file.write(value)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFINDEX, _request(INTERFACE, bytes(4)))
        (index,) = struct.unpack_from("i", answer, 16)
        address = socket.inet_pton(socket.AF_INET6, text_of(network, "address"))
        fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16sIi", address, _prefix(network, 128), index))
        gateway = network.get("gateway")
        if gateway:
            via = socket.inet_pton(socket.AF_INET6, str(gateway))
            # dst, src, gateway, type, dst_len, src_len, metric, info, flags, ifindex
            route = struct.pack(
                "16s16s16sIHHIQIi",
                bytes(16),
                bytes(16),
                via,
                0,
                0,
                0,
                _DEFAULT_METRIC,
                0,
                _RTF_UP | _RTF_GATEWAY,
                index,
            )
            fcntl.ioctl(control, _SIOCADDRT, route)


def _prefix(network: Document, longest: int) -> int:
    prefix = network.get("prefix_length")
    if not isinstance(prefix, int) or not 0 <= prefix <= longest:
        raise RefusalError(wire.BAD_REQUEST, f"prefix_length must be 0 to {longest}")
    return prefix


def _request(interface: str, value: bytes) -> bytes:
    return struct.pack("16s24s", interface.encode(), value)


def _address(packed: bytes) -> bytes:
    return struct.pack("HH4s8x", socket.AF_INET, 0, packed)


def _raise(control: socket.socket, interface: str) -> None:
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _request(interface, bytes(2)))
    (flags,) = struct.unpack_from("H", answer, 16)
    fcntl.ioctl(control, _SIOCSIFFLAGS, _request(interface, struct.pack("H", flags | _IFF_UP)))
