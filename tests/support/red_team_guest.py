"""Runs in the guest as root: tries every way to what the guest may not reach.

Prints what came of each, one a line.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Source = tuple[str, int] | None

PLACES = json.loads(sys.argv[1])
OK4, OK6 = PLACES["allowed"]
BAD4, BAD6 = PLACES["forbidden"]
RESOLVER, OTHER_RESOLVER = "198.51.100.53", "203.0.113.53"
UNHEARD_S = 0.7


def way(name: str, attempt: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    """Print what an attempt answers, and how long that took."""
    began = time.monotonic()
    try:
        answer = attempt(*arguments, **more)
    except ssl.SSLError as error:
        answer = f"alert {error.reason}"
    except TimeoutError:
        answer = "silence"
    except OSError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps({"way": name, "answer": answer, "seconds": round(time.monotonic() - began, 4)}), flush=True)


def connect(address: str, port: int, source: Source = None) -> socket.socket:
    return socket.create_connection((address, port), timeout=2.0, source_address=source)


def read(stream: socket.socket) -> str:
    """Return what comes until the end, or until an answer of HTTP is whole."""
    data = b""
    while more := stream.recv(65536):
        data += more
        if data.startswith(b"HTTP/1.1 200") and data.endswith(b"\n") and b"\r\n\r\n" in data:
            break
    return data.decode("latin-1") or "closed"


def say(address: str, port: int, *parts: bytes, pause: float = 0.0, source: Source = None) -> str:
    with connect(address, port, source) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, part in enumerate(parts):
            if number or not part:
                select.select([stream], [], [], pause)
            stream.sendall(part)
        return read(stream)


def get(host: str, first: str | None = None) -> bytes:
    return f"{first or 'GET / HTTP/1.1'}\r\nHost: {host}\r\n\r\n".encode()


def http(address: str, port: int, host: str, first: str | None = None) -> str:
    return say(address, port, get(host, first=first))


def twice(address: str, port: int, *hosts: str) -> list[str]:
    answers: list[str] = []
    with connect(address, port) as stream:
        for host in hosts:
            stream.sendall(get(host))
            answers.append(read(stream))
    return answers


def pipelined(address: str, port: int, *hosts: str) -> str:
    return say(address, port, b"".join(get(host) for host in hosts))


def lax() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls(address: str, port: int, name: str | None, source: Source = None) -> str:
    with connect(address, port, source) as stream, lax().wrap_socket(stream, server_hostname=name) as wrapped:
        wrapped.sendall(get(name or "none"))
        return read(wrapped)


def hello(name: str) -> bytes:
    """Return the first bytes that a TLS client sends."""
    outgoing = ssl.MemoryBIO()
    client = lax().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def with_extension(record: bytes, kind: int, body: bytes) -> bytes:
    """Return a ClientHello with one more extension, in front of the others."""
    at = 44 + record[43]
    at += 2 + int.from_bytes(record[at : at + 2], "big")
    at += 1 + record[at]
    extra = struct.pack(">HH", kind, len(body)) + body
    rest = record[at + 2 :]
    message = record[9:at] + struct.pack(">H", len(rest) + len(extra)) + extra + rest
    handshake = b"\x01" + len(message).to_bytes(3, "big") + message
    return record[:3] + struct.pack(">H", len(handshake)) + handshake


def in_two_records(record: bytes) -> bytes:
    body, head = record[5:], record[:3]
    return b"".join(head + struct.pack(">H", len(part)) + part for part in (body[:20], body[20:]))


def raw_tls(address: str, port: int, *parts: bytes, pause: float = 0.0) -> str:
    """Return what a server answers to the bytes of a ClientHello: the type of its first record."""
    answer = say_raw(address, port, *parts, pause=pause)
    if answer[:1] == b"\x16":
        return "handshake"
    return f"alert {answer[6]}" if answer[:1] == b"\x15" and len(answer) >= 7 else answer.decode("latin-1") or "closed"


def say_raw(address: str, port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    with connect(address, port) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, part in enumerate(parts):
            if number:
                select.select([stream], [], [], pause)
            stream.sendall(part)
        return stream.recv(65536)


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack(">HH", kind, 1)


def verdict(reply: bytes) -> str:
    if len(reply) < 12:
        return "closed"
    code, count = reply[3] & 15, struct.unpack(">H", reply[6:8])[0]
    return {0: f"{count} records", 3: "NXDOMAIN", 5: "REFUSED"}.get(code, f"code {code}")


def dns_udp(server: str, name: str, kind: int = 1) -> str:
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3.0)
        asking.sendto(question(name, kind), (server, 53))
        return verdict(asking.recv(4096))


def dns_tcp(server: str, name: str, kind: int = 1) -> str:
    with connect(server, 53) as stream:
        asked = question(name, kind)
        stream.sendall(len(asked).to_bytes(2, "big") + asked)
        return verdict(stream.recv(4096)[2:])


def datagram(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(UNHEARD_S)
        sender.connect((address, port))
        sender.send(b"\xc0\0\0\0\1" + b"x" * 1200)
        return sender.recv(4096).decode("latin-1")


def ping(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        sender.settimeout(UNHEARD_S)
        body = struct.pack(">BBHHH", 8, 0, 0, 7, 1)
        total = sum(struct.unpack(">4H", body))
        sender.sendto(body[:2] + struct.pack(">H", ~((total >> 16) + total) & 0xFFFF) + body[4:], (address, 0))
        while packet := sender.recv(4096):
            if packet[20] == 0 and packet[12:16] == socket.inet_aton(address):
                return f"reached {address}"
        return "closed"


def lookup(name: str) -> str:
    return ", ".join(sorted({str(info[4][0]) for info in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}))


def inet(address: str) -> bytes:
    return struct.pack("H2x4s8x", socket.AF_INET, socket.inet_aton(address))


def ioctl(request: int, argument: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, request, argument)


def add_address(alias: str, address: str, mask: str) -> None:
    ioctl(0x8916, struct.pack("16s16s8x", alias.encode(), inet(address)))  # SIOCSIFADDR
    ioctl(0x891C, struct.pack("16s16s8x", alias.encode(), inet(mask)))  # SIOCSIFNETMASK


def add_route(network: str, mask: str, gateway: str | None, device: str) -> None:
    name = ctypes.create_string_buffer(device.encode())
    flags = 3 if gateway else 1  # RTF_UP, RTF_GATEWAY
    addresses = (inet(network), inet(gateway or "0.0.0.0"), inet(mask))
    route = struct.pack("@L16s16s16sHhLPhPLLH0L", 0, *addresses, flags, 0, 0, 0, 0, ctypes.addressof(name), 0, 0, 0)
    ioctl(0x890B, route)  # SIOCADDRT


def resolve_to(address: str, mac: bytes, device: str) -> None:
    hardware = struct.pack("H14s", 1, mac)
    ioctl(0x8955, struct.pack("16s16si16s16s", inet(address), hardware, 6, b"", device.encode()))  # SIOCSARP


def unheard(address: str, port: int, segments: list[tuple[str, int, bool]]) -> str:
    """Send segments of TCP that a socket of the guest would not send."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        for source, flags, fragment in segments:
            tcp = struct.pack(">HHLLBBHHH", 40000, port, 1, 1, 5 << 4, flags, 64240, 0, 0) + b"GET / HTTP/1.0\r\n\r\n"
            pseudo = socket.inet_aton(source) + socket.inet_aton(address) + struct.pack(">BBH", 0, 6, len(tcp))
            tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
            parts = [(0, tcp)] if not fragment else [(0x2000, tcp[:16]), (2, tcp[16:])]
            for offset, part in parts:
                head = struct.pack(
                    ">BBHHHBBH4s4s", 0x45, 0, 20 + len(part), 77, offset, 64, 6, 0,
                    socket.inet_aton(source), socket.inet_aton(address),
                )  # fmt: skip
                sender.sendto(head + part, (address, 0))
    return "sent"


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def controls(suffix: str = "") -> None:
    way(f"control-http{suffix}", http, "allowed.test", 80, "allowed.test")
    way(f"control-tls{suffix}", tls, "allowed.test", 443, "allowed.test")


controls()
way("control-wildcard", tls, "a.wild.test", 443, "a.wild.test")
way("control-port", http, "port.test", 8081, "port.test")
way("control-server-first", say, "allowed.test", 22, b"SSH-2.0-me\r\n")
way("control-server-first-silent", lambda: connect("allowed.test", 22).recv(100).decode("latin-1"))
way("control-kept-alive", twice, "allowed.test", 80, "allowed.test", "allowed.test")
good_hello = hello("allowed.test")
way("control-split-hello", raw_tls, OK4, 443, good_hello[:7], good_hello[7:90], good_hello[90:], pause=0.05)
way("control-odd-http-port", http, "allowed.test", 9000, "allowed.test")
way("control-odd-tls-port", tls, "allowed.test", 9443, "allowed.test")
way("control-names", lookup, "allowed.test")
way("control-spelled", tls, OK4, 443, "ALLOWED.Test")
way("control-spelled-http", http, OK4, 80, "Allowed.TEST.:80")

# 1. An address instead of a name
way("address-tcp", say, BAD4, 9000, b"hello\n")
way("address-tcp-22", say, BAD4, 22, b"hello\n")
way("address-http", http, BAD4, 80, BAD4)
way("address-http-allowed-server", http, OK4, 80, OK4)
way("address-tls", tls, BAD4, 443, None)
# 2.-4. TLS
way("sni-forbidden-at-forbidden", tls, BAD4, 443, "forbidden.test")
way("sni-forbidden-at-allowed", tls, OK4, 443, "shared.test")
way("sni-forbidden-at-allowed-odd-port", tls, OK4, 9443, "shared.test")
way("sni-allowed-at-forbidden", tls, BAD4, 443, "allowed.test")
way("sni-none-at-allowed", tls, OK4, 443, None)
# 5.-8. HTTP
way("host-forbidden-at-allowed", http, OK4, 80, "shared.test")
way("host-forbidden-at-allowed-odd-port", http, OK4, 9000, "shared.test")
way("host-allowed-at-forbidden", http, BAD4, 80, "allowed.test")
way("host-missing", say, OK4, 80, b"GET / HTTP/1.0\r\n\r\n")
way("host-twice", say, OK4, 80, b"GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: shared.test\r\n\r\n")
way("host-with-user", say, OK4, 80, b"GET / HTTP/1.1\r\nHost: shared.test:80@allowed.test\r\n\r\n")
way("second-request", twice, "allowed.test", 80, "allowed.test", "shared.test")
way("pipelined-request", pipelined, "allowed.test", 80, "shared.test", "allowed.test")
way("absolute-form", http, OK4, 80, "allowed.test", first="GET http://shared.test/ HTTP/1.1")
way("absolute-form-other-scheme", http, OK4, 8080, "allowed.test", first="GET ws://shared.test/ HTTP/1.1")
way("newline-first", say, OK4, 80, b"\r\n" + get("shared.test"))
way("slow-start", say, OK4, 80, b"", get("shared.test"), pause=0.8)
way("slow-start-odd-port", say, OK4, 9000, b"", get("shared.test"), pause=0.8)
way("junk-first", say, OK4, 80, b"\x01" + get("shared.test"))
# 9. Tunnels
for port in (80, 8080, 9000):
    way(f"connect-{port}", http, OK4, port, "allowed.test", first="CONNECT forbidden.test:443 HTTP/1.1")
way("connect-allowed-name", http, OK4, 8080, "allowed.test:443", first="CONNECT allowed.test:443 HTTP/1.1")
# 10.-13. Other ways to resolve names
way("dns-tcp-other", dns_tcp, OTHER_RESOLVER, "forbidden.test")
way("dns-udp-other", dns_udp, OTHER_RESOLVER, "forbidden.test")
way("dns-tcp-own", dns_tcp, RESOLVER, "forbidden.test")
way("dns-udp-own", dns_udp, RESOLVER, "forbidden.test")
way("dns-tunnel", dns_udp, RESOLVER, "secret-data.forbidden.test", 16)
way("dns-udp-other-ipv6", dns_udp, BAD6, "forbidden.test")
way("dns-over-https", tls, BAD4, 443, "doh.test")
way("dns-over-tls", tls, BAD4, 853, "doh.test")
way("dns-over-tls-resolver", tls, OTHER_RESOLVER, 853, None)
way("dns-https-record", dns_udp, RESOLVER, "allowed.test", 65)
# 14. Encrypted and split ClientHellos
hidden = with_extension(hello("allowed.test"), 0xFE0D, b"\0\0\1\0\1\1\0\x20" + b"k" * 32 + b"\0\x10" + b"p" * 16)
way("ech", raw_tls, OK4, 443, hidden)
way("ech-split", raw_tls, OK4, 443, hidden[:60], hidden[60:], pause=0.1)
bad_hello = hello("shared.test")
way("split-hello", raw_tls, OK4, 443, bad_hello[:3], bad_hello[3:80], bad_hello[80:], pause=0.05)
way("hello-in-two-records", raw_tls, OK4, 443, in_two_records(bad_hello))
way("hello-in-two-records-odd-port", raw_tls, OK4, 9443, in_two_records(bad_hello))
way("slow-hello", raw_tls, OK4, 443, b"", bad_hello, pause=0.8)
way("slow-hello-odd-port", raw_tls, OK4, 9443, b"", bad_hello, pause=0.8)
way("slow-split-hello", raw_tls, OK4, 443, bad_hello[:80], bad_hello[80:], pause=0.8)
# 15. Spellings of addresses
way("ipv6-http", http, BAD6, 80, f"[{BAD6}]")
way("ipv6-tls", tls, BAD6, 443, "forbidden.test")
way("ipv4-mapped", http, f"::ffff:{BAD4}", 80, "forbidden.test")
way("ipv4-in-nat64", http, f"64:ff9b::{BAD4}", 80, "forbidden.test")
# 16. Names that lead inside
for kind in ("loopback", "host", "private", "metadata", "mapped", "six"):
    way(f"rebind-http-{kind}", http, OK4, 80, f"{kind}.rebind.test")
    way(f"rebind-tls-{kind}", tls, OK4, 443, f"{kind}.rebind.test")
for kind, address in (("host", "192.0.2.2"), ("private", "10.1.2.3"), ("metadata", "169.254.169.254")):
    lookup(f"{kind}.rebind.test")
    way(f"rebind-tcp-{kind}", say, address, 22, b"hello\n")
# 17. Not TCP
way("udp-443", datagram, BAD4, 443)
way("udp-443-allowed", datagram, OK4, 443)
way("udp-9999", datagram, BAD4, 9999)
way("udp-443-ipv6", datagram, BAD6, 443)
way("icmp", ping, BAD4)
way("icmp-allowed", ping, OK4)
# 18. Names next to the allowed ones
way("forbidden-name", lookup, "forbidden.test")
way("trailing-dot", http, OK4, 80, "shared.test.")
way("upper-case", tls, OK4, 443, "SHARED.TEST")
way("apex-of-wildcard", tls, OK4, 443, "wild.test")
way("apex-of-wildcard-http", http, OK4, 80, "wild.test")
way("ends-like-a-wildcard", http, OK4, 80, "evilwild.test")
way("ends-like-a-name", http, OK4, 80, "notallowed.test")
way("below-an-exact-name", http, OK4, 80, "sub.allowed.test")
way("denied-below-wildcard", tls, OK4, 443, "secret.wild.test")
way("denied-below-wildcard-http", http, OK4, 80, "secret.wild.test.")
way("denied-below-wildcard-name", dns_udp, RESOLVER, "secret.wild.test")
way("port-rule-other-port", http, OK4, 80, "port.test")
way("port-rule-other-port-tls", tls, OK4, 443, "port.test")
# 20. The proxy's own ports
for port in (3128, 3129):
    for address in ("10.213.77.1", "192.0.0.1", BAD4):
        way(f"proxy-port-{address}-{port}", http, address, port, "forbidden.test")
    way(f"proxy-port-{port}-connect", http, "192.0.0.1", port, "x", first=f"CONNECT {BAD4}:443 HTTP/1.1")
# 19. What root can change in the guest; last, since nothing works as before
way("fragments", unheard, BAD4, 80, [("10.213.77.15", 2, True), ("10.213.77.15", 0x18, True)])
way("middle-of-a-connection", unheard, BAD4, 80, [("10.213.77.15", 0x18, False)])
way("false-sources", unheard, BAD4, 80, [(f, 2, False) for f in ("192.0.0.1", "192.0.2.2", "192.0.2.1", OK4, BAD4)])
device = next(name for name in os.listdir("/sys/class/net") if name != "lo")
add_address(f"{device}:1", "192.0.2.2", "255.255.255.255")
add_address(f"{device}:2", "10.213.77.99", "255.255.255.255")
way("host-as-source", say, BAD4, 80, get("forbidden.test"), source=("192.0.2.2", 0))
way("neighbour-as-source", tls, BAD4, 443, "forbidden.test", source=("10.213.77.99", 0))
add_address(f"{device}:3", "192.0.0.3", "255.255.255.248")
gateway_mac = bytes.fromhex("525400707901")
resolve_to("192.0.0.1", gateway_mac, device)
add_route("203.0.113.0", "255.255.255.0", "192.0.0.1", device)
way("another-gateway", http, BAD4, 80, "forbidden.test")
add_route(BAD4, "255.255.255.255", None, device)
resolve_to(BAD4, gateway_mac, device)
way("on-the-link", http, BAD4, 80, "forbidden.test")
controls("-at-the-end")
