"""Servers that count what reaches them, at addresses that a filtered guest may reach and at others, and such a guest.

The lab's host and internet serve at these addresses. Every connection, datagram and request that arrives is a line in
the file that EVENTS names.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
from contextlib import closing, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp.host.waiting import wait_until
from tests.support.authority import Authority
from tests.support.pyro_cli import pyro, pyro_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The environment variable with the path of the file of events.
EVENTS = "PYRO_TEST_EVENTS"
GUEST = Path(__file__).with_name("red_team_guest.py")

ALLOWED = ("198.51.100.20", "2001:db8:2::20")
FORBIDDEN = ("203.0.113.20", "2001:db8:3::20")
RESOLVER = "198.51.100.53"
OTHER_RESOLVER = "203.0.113.53"
OUTSIDE = (*ALLOWED, *FORBIDDEN, RESOLVER, OTHER_RESOLVER)
INSIDE = {"loopback": "127.0.0.1", "host": "192.0.2.2", "private": "10.1.2.3", "metadata": "169.254.169.254"}
ON_THE_HOST = ("127.0.0.1", "192.0.2.2", "::1")
ON_THE_INTERNET = (*OUTSIDE, "10.1.2.3", "169.254.169.254")
NEVER_REACHED = (*FORBIDDEN, OTHER_RESOLVER, *INSIDE.values(), "::1")

HTTP_PORTS, TLS_PORTS, SERVER_FIRST_PORTS, DNS_PORT = (80, 8080, 8081, 9000), (443, 853, 8443, 9443), (22,), 53
UDP_PORTS = (53, 443, 9999)
PORT_RULE = 8081

NAMES = {
    "allowed.test": ALLOWED,
    "wild.test": ALLOWED,
    "a.wild.test": ALLOWED,
    "secret.wild.test": ALLOWED,
    "port.test": ("198.51.100.20",),
    "shared.test": ALLOWED,
    "forbidden.test": FORBIDDEN,
    "doh.test": FORBIDDEN,
    **{f"{kind}.rebind.test": (address,) for kind, address in INSIDE.items()},
    "mapped.rebind.test": ("::ffff:127.0.0.1",),
    "six.rebind.test": ("::1",),
}
RULES = (
    *("--allow-host", "allowed.test", "--allow-host", "*.wild.test", "--deny-host", "secret.wild.test"),
    *("--allow-host", f"port.test:{PORT_RULE}", "--allow-host", "*.rebind.test"),
)


def be_the_red_team() -> dict[str, Any]:
    """Boot a guest that may reach the allowed names alone, let it try everything else, and return the results."""
    Path("/etc/resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    made = pyro("workspace", "create", "debian:12", "--id-only", "--network-policy", "allow", *RULES)
    if made.returncode != 0:
        sys.exit(made.stderr.decode("utf-8", "replace"))
    workspace_id = made.stdout.decode().strip()
    try:
        words = ("workspace", "exec", workspace_id, "--timeout-seconds", "60", "--", "python3", "-c")
        done = pyro(*words, GUEST.read_text(encoding="utf-8"), json.dumps({"allowed": ALLOWED, "forbidden": FORBIDDEN}))
        if done.returncode != 0:
            sys.exit((done.stdout + done.stderr).decode("utf-8", "replace"))
        log = pyro_json("workspace", "network", "log", workspace_id, "--limit", "1000")
        ways = {attempt["way"]: attempt for attempt in map(json.loads, done.stdout.splitlines())}
        return {"ways": ways, "log": log["entries"], "arrived": arrived()}
    finally:
        pyro("workspace", "delete", workspace_id)


def heard_from_the_host() -> list[str]:
    """Connect to everything that a guest must not reach, and return which of it noticed."""
    before = len(arrived())
    wanted = {(address, port) for address in NEVER_REACHED for port in (*HTTP_PORTS, *TLS_PORTS, DNS_PORT)}
    for address, port in wanted:
        with socket.create_connection((address, port), timeout=5.0):
            pass
    for address in (*FORBIDDEN, OTHER_RESOLVER):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x" * 20, (address, 443))
        wanted.add((address, 443))

    def missing() -> set[tuple[str, int]]:
        return wanted - {(event["address"], event["port"]) for event in arrived()[before:]}

    wait_until(lambda: not missing(), timeout_s=10.0, what="the servers to count what arrives")
    return sorted({address for address, _ in wanted})


def arrived() -> list[dict[str, Any]]:
    """Return what has arrived at the servers."""
    return [json.loads(line) for line in Path(os.environ[EVENTS]).read_text(encoding="utf-8").splitlines()]


def serve(addresses: Iterable[str]) -> None:
    """Serve at each address until this process ends."""
    certificate = str(Path(os.environ[EVENTS]).with_name("certificate.pem"))
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in (*HTTP_PORTS, *TLS_PORTS, *SERVER_FIRST_PORTS, DNS_PORT):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen(64)
            _in_thread(partial(_accept, listener, address, port, certificate))
        for port in UDP_PORTS:
            endpoint = socket.socket(family, socket.SOCK_DGRAM)
            with suppress(OSError):
                # The lab's own resolver has one of these already.
                endpoint.bind((address, port))
                _in_thread(partial(_answer_datagrams, endpoint, address, port))
    _in_thread(partial(_count_pings, set(addresses)))


def _in_thread(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


def _note(address: str, port: int, kind: str, **more: str) -> None:
    line = json.dumps({"address": address, "port": port, "kind": kind, **more}) + "\n"
    fd = os.open(os.environ[EVENTS], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    with closing(os.fdopen(fd, "wb", buffering=0)) as file:
        file.write(line.encode())


def prepare(directory: Path) -> None:
    """Make the servers' certificate and the file of events in a directory."""
    (directory / "certificate.pem").write_text(Authority("A lab").server("allowed.test"), encoding="ascii")
    events = directory / "events"
    events.touch()
    events.chmod(0o666)
    directory.chmod(0o755)
    os.environ[EVENTS] = str(events)


def _tls_context(certificate: str, asked: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def on_name(connection: object, name: str | None, of: object) -> None:
        del connection, of
        asked.append(name or "")

    context.sni_callback = on_name
    return context


def _accept(listener: socket.socket, address: str, port: int, certificate: str) -> None:
    while True:
        client, _ = listener.accept()
        client.settimeout(20.0)
        _in_thread(partial(_talk, client, address, port, certificate))


def _talk(client: socket.socket, address: str, port: int, certificate: str) -> None:
    _note(address, port, "tcp")
    with suppress(OSError), closing(client):
        if port in TLS_PORTS:
            asked: list[str] = []
            with _tls_context(certificate, asked).wrap_socket(client, server_side=True) as wrapped:
                name = asked[0] if asked else ""
                _note(address, port, "tls", name=name)
                _serve_http(wrapped, address, port, f"{address} as {name}")
        elif port in SERVER_FIRST_PORTS:
            client.sendall(f"SSH-2.0-at-{address}\r\n".encode())
            client.recv(1024)
        elif port == DNS_PORT:
            question = client.recv(4096)[2:]
            reply = _dns_reply(question, address, "dns-tcp")
            client.sendall(len(reply).to_bytes(2, "big") + reply)
        else:
            _serve_http(client, address, port, address)


def _serve_http(client: socket.socket, address: str, port: int, who: str) -> None:
    """Answer requests, also those to a proxy, until the client has enough."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").lstrip("\r\n").split("\r\n")
        host = next((field.partition(":")[2].strip() for field in fields if field.lower().startswith("host:")), "")
        _note(address, port, "http", request=first, host=host)
        body = f"reached {who}\n"
        client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def _answer_datagrams(endpoint: socket.socket, address: str, port: int) -> None:
    while True:
        data, client = endpoint.recvfrom(4096)
        if port == DNS_PORT:
            endpoint.sendto(_dns_reply(data, address, "dns-udp"), client)
        else:
            _note(address, port, "udp")
            endpoint.sendto(f"reached {address}".encode(), client)


def _count_pings(addresses: set[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pings:
        while True:
            packet = pings.recv(65536)
            header = (packet[0] & 15) * 4
            target = str(ip_address(packet[16:20]))
            if target in addresses and packet[header] == 8:
                _note(target, 0, "icmp")


def _dns_reply(question: bytes, address: str, kind: str) -> bytes:
    labels: list[str] = []
    at = 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("latin-1").lower())
        at += 1 + question[at]
    name, asked = ".".join(labels), int.from_bytes(question[at + 1 : at + 3], "big")
    _note(address, DNS_PORT, kind, name=name)
    records = _records(name, asked)
    header = question[:2] + b"\x81\x80\0\1" + len(records).to_bytes(2, "big") + b"\0\0\0\0"
    return header + question[12 : at + 5] + b"".join(records)


def _records(name: str, asked: int) -> list[bytes]:
    addresses = [ip_address(text) for text in NAMES.get(name, ())]
    match asked:
        case 1 | 28:
            found = [address.packed for address in addresses if address.version == (4 if asked == 1 else 6)]
        case 65:
            # Priority 1, the same name, and a parameter `ech` (5).
            found = [b"\0\1\0\0\5\0\4\xfe\x0d\0\0"] if addresses else []
        case _:
            found = []
    # Valid for one second, so that each name is resolved again.
    return [b"\xc0\x0c" + asked.to_bytes(2, "big") + b"\0\1\0\0\0\1" + len(x).to_bytes(2, "big") + x for x in found]
