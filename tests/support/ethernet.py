"""A guest that is only frames: it speaks Ethernet over the VMM's end of a network, and can send anything.

A real guest's kernel would refuse to send half of what a hostile one sends, such as a packet to 127.0.0.1.
"""

from __future__ import annotations

import select
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from pyro_mcp.host.waiting import Deadline

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable

    from pyro_mcp.host.network import GuestNetwork

    Address = IPv4Address | IPv6Address

MAC = bytes.fromhex("525400ddccbb")
ANY_MAC = b"\xff" * 6
FIRST_PORT = 20000
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
#: How long an answer that must come may take on a busy machine.
ANSWER_TIMEOUT_S = 30.0


class WireGuest:
    """A guest at the end of a wire."""

    def __init__(self, vmm_fd: int, network: GuestNetwork) -> None:
        self._socket = socket.socket(fileno=vmm_fd)
        self._socket.settimeout(5.0)
        self._network = network
        self._received = b""
        self._sources = {
            4: IPv4Address(network.ipv4.address if network.ipv4 else "0.0.0.0"),
            6: IPv6Address(network.ipv6.address if network.ipv6 else "::"),
        }
        self._gateway_mac = ANY_MAC
        self._next_port = FIRST_PORT

    def close(self) -> None:
        """Forget the descriptor, which belongs to the creator of the network."""
        self._socket.detach()

    def find_gateway(self, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
        """Return the hardware address of the gateway, found by ARP."""
        assert self._network.ipv4 is not None
        own = self._sources[4].packed
        wanted = IPv4Address(self._network.ipv4.gateway).packed
        body = struct.pack("!HHBBH", 1, _IPV4, 6, 4, 1) + MAC + own + bytes(6) + wanted
        self._send_frame(ANY_MAC, _ARP, body)
        for kind, answer in self._frames(timeout_s):
            if kind == _ARP and answer[6:8] == b"\0\2" and answer[14:18] == wanted:
                self._gateway_mac = answer[8:14]
                return self._gateway_mac.hex(":")
        raise AssertionError("nobody answered for the gateway")

    def connect(
        self,
        targets: Iterable[tuple[str, int]],
        timeout_s: float = ANSWER_TIMEOUT_S,
        *,
        may_be_silent: Collection[str] = (),
    ) -> dict[str, str]:
        """Send a SYN to each target at once; return for each `open`, `refused` or `silent`.

        Those that may be silent are not waited for.
        """
        asked: dict[int, str] = {}
        outcome: dict[str, str] = {}
        for address, port in targets:
            source_port = self._port()
            asked[source_port], outcome[address] = address, "silent"
            self._send_tcp(ip_address(address), source_port, port, _SYN, 1)
        for protocol, source, segment in self._packets(timeout_s):
            if protocol != _TCP or len(segment) < 20:
                continue
            port, own_port, sequence, _, _, flags = struct.unpack_from("!HHIIBB", segment)
            name = asked.get(own_port)
            if name is None or outcome[name] != "silent":
                continue
            if flags & _RST:
                outcome[name] = "refused"
            elif flags & _SYN:
                outcome[name] = "open"
                self._send_tcp(source, own_port, port, _RST | _ACK, 2, sequence + 1)
            if all(result != "silent" or target in may_be_silent for target, result in outcome.items()):
                break
        return outcome

    def ask(
        self, targets: Iterable[tuple[str, int]], question: bytes, awaited: Collection[str] = (), *, rest_s: float = 1.0
    ) -> dict[str, bytes]:
        """Send a datagram to each target at once and return the answers that came, by target.

        The awaited ones may take their time; the others have `rest_s` after them.
        """
        asked: dict[int, str] = {}
        answers: dict[str, bytes] = {}
        for address, port in targets:
            source_port = self._port()
            asked[source_port] = address
            length = 8 + len(question)
            header = struct.pack("!HHHH", source_port, port, length, 0)
            self._send_packet(ip_address(address), _UDP, header + question, 6)

        def take(timeout_s: float, wanted: set[str]) -> None:
            for protocol, _, segment in self._packets(timeout_s):
                if protocol == _UDP and len(segment) >= 8:
                    own_port = struct.unpack_from("!H", segment, 2)[0]
                    if own_port in asked:
                        answers[asked[own_port]] = segment[8:]
                if wanted <= set(answers):
                    break

        if awaited:
            take(ANSWER_TIMEOUT_S, set(awaited))
        take(rest_s, set(asked.values()))
        return answers

    def resolve(self, name: str, server: str) -> list[str]:
        """Ask a name server for the IPv4 addresses of a name."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
        answer = self.ask([(server, 53)], question, [server], rest_s=0.0).get(server, b"")
        # Every answer of the tests' server is a record of 16 bytes after the question.
        records = answer[len(question) :]
        return [str(IPv4Address(records[end - 4 : end])) for end in range(16, len(records) + 1, 16)]

    def hears_nothing(self, timeout_s: float) -> bool:
        """Say whether no frame arrives for that long."""
        return next(self._frames(timeout_s), None) is None

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port

    def _send_tcp(self, target: Address, source: int, port: int, flags: int, sequence: int, ack: int = 0) -> None:
        header = struct.pack("!HHIIBBHHH", source, port, sequence, ack & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0)
        self._send_packet(target, _TCP, header, 16)

    def _send_packet(self, target: Address, protocol: int, segment: bytes, checksum_at: int) -> None:
        source = self._sources[target.version]
        if target.version == 4:
            pseudo = source.packed + target.packed + struct.pack("!BBH", 0, protocol, len(segment))
        else:
            pseudo = source.packed + target.packed + struct.pack("!IHBB", len(segment), 0, 0, protocol)
        checksum = struct.pack("!H", _checksum(pseudo + segment))
        segment = segment[:checksum_at] + checksum + segment[checksum_at + 2 :]
        if target.version == 4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, protocol, 0)
            head += source.packed + target.packed
            head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
            self._send_frame(self._gateway_mac, _IPV4, head + segment)
        else:
            head = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + source.packed + target.packed
            self._send_frame(self._gateway_mac, _IPV6, head + segment)

    def _send_frame(self, target: bytes, kind: int, body: bytes) -> None:
        # Not padded to 60 bytes: virtio frames are not, and Debian 12's passt takes padding for payload.
        frame = target + MAC + struct.pack("!H", kind) + body
        self._socket.sendall(struct.pack("!I", len(frame)) + frame)

    def _packets(self, timeout_s: float) -> Generator[tuple[int, Address, bytes]]:
        for kind, body in self._frames(timeout_s):
            if kind == _IPV4 and len(body) >= 20:
                total = struct.unpack_from("!H", body, 2)[0]
                yield body[9], IPv4Address(body[12:16]), body[(body[0] & 15) * 4 : total]
            elif kind == _IPV6 and len(body) >= 40:
                length, protocol = struct.unpack_from("!HB", body, 4)
                yield protocol, IPv6Address(body[8:24]), body[40 : 40 + length]

    def _frames(self, timeout_s: float) -> Generator[tuple[int, bytes]]:
        deadline = Deadline(timeout_s, "frames")
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while True:
            while len(self._received) >= 4:
                length = struct.unpack_from("!I", self._received)[0]
                if len(self._received) < 4 + length:
                    break
                frame, self._received = self._received[4 : 4 + length], self._received[4 + length :]
                yield struct.unpack_from("!H", frame, 12)[0], frame[14:]
            if not poller.poll(deadline.remaining_s() * 1000):
                return
            data = self._socket.recv(1 << 20)
            if not data:
                return
            self._received += data


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
