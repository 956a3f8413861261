"""A private host and internet in network namespaces, with a hostile guest on that host.

Run as a program: `host`, in fresh network and mount namespaces, makes the `internet` in others and starts the `guest`,
which is frames on a wire, the `machine`, a real guest that `pyro` boots on that host, the `workspace`, one that is
stopped, started and reset meanwhile, or the `red-team`, one that may reach some names only. Every address that a guest
must not reach exists and answers: `controls` reports what the host could reach.

    internet ── veth ── host (services on all its addresses, also on loopback) ── egress ── guest
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager, nullcontext
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.network import Egress, NetworkFiles, open_egress
from pyro_mcp.host.waiting import wait_until
from tests.support import red_team
from tests.support.ethernet import WireGuest
from tests.support.pyro_cli import pyro

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parents[2]
PORT = 7777
ALLOWED = ("198.51.100.10", "203.0.113.80", "2001:db8:2::10")
HOSTS_OWN = ("192.0.2.2", "172.17.0.1", "203.0.113.7", "2001:db8:1::2", "2001:db8:77::1", "fd33::2")
LATER = ("203.0.113.99", "2001:db8:99::1")
LOOPBACK = ("127.0.0.1", "127.1.2.3", "127.0.0.53", "::1")
# What may be spelled only in a packet: a kernel would not send it, and nothing can be connected to it as a control.
SPELLINGS = (
    "0.0.0.0",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "::ffff:192.0.2.2",
    "64:ff9b::127.0.0.1",
    "64:ff9b::192.0.2.2",
    "2002:7f00:1::1",
    "10.213.77.1",
    "10.213.77.3",
    "fd70:7972:6f::1",
    "255.255.255.255",
    "192.0.2.255",
    "224.0.0.1",
    "fe80::1",
    "ff02::1",
)
METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
)
PRIVATE = ("10.1.2.3", "172.16.5.5", "192.168.7.7", "100.64.1.1", "fd12::1", "192.0.2.1", "2001:db8:1::1")
STUB = "127.0.0.53"
PRIVATE_RESOLVER = "10.1.2.3"
# Addresses that passt itself answers nothing for, and a network's broadcast address, for which the kernel refuses
# nothing; all others are refused in so many words.
SILENT = {"fe80::1", "192.0.2.255"}
# With private networks these lead to the outside, where nobody has them.
SILENT_IF_PRIVATE = {*SILENT, "10.213.77.1", "10.213.77.3", "fd70:7972:6f::1"}
TIMEOUT_S = 110.0
# A part that needs more time is given it by `run_lab`, which ends it.
LONGEST_S = 600.0
# What a program in a real guest sees. All at once: Debian 12's passt refuses in a way that a guest's TCP does not hear.
PROBE = f"""
import json, select, socket, sys
seen = {{"tcp": {{}}, "names": {{}}, "retries": open("/proc/sys/net/ipv4/tcp_syn_retries").read().strip()}}
poller, waiting = select.poll(), {{}}
for address in json.loads(sys.argv[1]):
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    probe.setblocking(False)
    probe.connect_ex((address, {PORT}))
    poller.register(probe, select.POLLOUT)
    waiting[probe.fileno()] = address, probe
while waiting and (ready := poller.poll(10000)):
    for fd, _ in ready:
        poller.unregister(fd)
        address, probe = waiting.pop(fd)
        seen["tcp"][address] = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not seen["tcp"][address]:
            seen["tcp"][address] = probe.connect_ex((address, {PORT}))
for name in ("allowed.test", "loopback.test"):
    seen["names"][name] = socket.gethostbyname(name)
print(json.dumps(seen))
"""


def main() -> None:
    match sys.argv[1:]:
        case ["host", module, part, account, interpreter, checkout]:
            print(json.dumps(be_the_host(module, part, account, interpreter, checkout)))
        case ["internet", part]:
            be_the_internet(part=part)
        case ["guest"]:
            print(json.dumps(be_the_guest()))
        case ["machine"]:
            print(json.dumps(be_the_machine()))
        case ["red-team"]:
            print(json.dumps(red_team.be_the_red_team()))
        case ["workspace"]:
            print(json.dumps(be_the_workspace()))
        case other:
            sys.exit(f"no such role: {other}")


def be_the_host(module: str, part: str, account: str, interpreter: str, checkout: str) -> dict[str, object]:
    """Make the networks, serve on every address, start the guest's part of `module`, and return what it reached."""
    with ExitStack() as stack:
        if part == "red-team":
            red_team.prepare(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyro-lab-", dir="/tmp"))))
        internet = stack.enter_context(
            process.start(
                ["unshare", "--net", "--", sys.executable, "-m", module, "internet", part],
                env=dict(os.environ), cwd=ROOT, stdin=process.PIPE, stdout=process.PIPE, stderr=None,
            )
        )  # fmt: skip
        assert internet.stdout is not None
        assert internet.stdin is not None
        assert os.read(internet.stdout, 10) == b"made\n"
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(internet.pid))
        _ip("link", "add", "other0", "type", "veth", "peer", "name", "other1")
        _addresses("eth0", "192.0.2.2/24", "2001:db8:1::2/64")
        _addresses("other0", "172.17.0.1/16", "203.0.113.7/32", "2001:db8:77::1/64", "fd33::2/64")
        for device in ("eth0", "other0", "other1"):
            _ip("link", "set", device, "up")
        os.write(internet.stdin, b"linked\n")
        assert os.read(internet.stdout, 10) == b"served\n"
        _ip("route", "add", "default", "via", "192.0.2.1", "dev", "eth0")
        _ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "eth0")
        stack.enter_context(_serving("host", [*HOSTS_OWN, *LOOPBACK], resolver_at=STUB))
        if part == "red-team":
            red_team.serve(red_team.ON_THE_HOST)
        _own_resolv_conf(stack)
        seen = json.loads(
            process.run(
                [*as_account(account), interpreter, "-m", module, part],
                env={**os.environ, "PYTHONPATH": f"{checkout}/src", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=checkout,
                timeout_s=LONGEST_S,
            ).text
        )
        if part == "red-team":
            seen["heard_from_the_host"] = red_team.heard_from_the_host()
        seen["controls"] = {
            address: _connects(address) for address in (*ALLOWED, *HOSTS_OWN, *LOOPBACK, *METADATA, *PRIVATE)
        }
        return seen


def be_the_internet(servers: Callable[[], AbstractContextManager[object]] = nullcontext, *, part: str = "") -> None:
    """Answer at every outside address, also with `servers`, until stdin closes."""
    os.write(1, b"made\n")
    os.read(0, 10)
    for device in ("lo", "eth0"):
        _ip("link", "set", device, "up")
    _addresses("eth0", "192.0.2.1/24", "2001:db8:1::1/64")
    outside = [*ALLOWED, *METADATA, *PRIVATE, *(red_team.OUTSIDE if part == "red-team" else ())]
    on_loopback = [address for address in outside if address not in {"192.0.2.1", "2001:db8:1::1"}]
    _addresses("lo", *(f"{address}/{128 if ':' in address else 32}" for address in on_loopback))
    with _serving("internet", outside, resolver_at=PRIVATE_RESOLVER), servers():
        if part == "red-team":
            red_team.serve(red_team.ON_THE_INTERNET)
        os.write(1, b"served\n")
        os.read(0, 10)


def be_the_guest() -> dict[str, object]:
    """Try every way to reach what is forbidden, and return the results."""
    everything = (*ALLOWED, *HOSTS_OWN, *LOOPBACK, *SPELLINGS, *METADATA, *PRIVATE)
    seen: dict[str, object] = {}
    for policy, private_networks, server in (("default", False, STUB), ("private", True, PRIVATE_RESOLVER)):
        Path("/etc/resolv.conf").write_text(f"nameserver {server}\n")
        with _network_files() as files, open_egress(files, private_networks=private_networks) as egress:
            egress.wait_ready()
            with closing(WireGuest(egress.vmm_fd, egress.guest)) as guest:
                silent = SILENT_IF_PRIVATE if private_networks else SILENT
                seen[policy] = _explore(egress, guest, everything, silent)
                if os.geteuid() == 0 and not private_networks:
                    seen["later"] = _reached_later(guest)
    return seen


@contextmanager
def _network_files() -> Generator[NetworkFiles]:
    with tempfile.TemporaryDirectory(prefix="pyro-lab-", dir="/tmp") as made:
        yield NetworkFiles(Path(made) / "control", Path(made) / "log")


def be_the_machine() -> dict[str, object]:
    """Boot a real guest, let it connect to everything, and return the results."""
    Path("/etc/resolv.conf").write_text(f"nameserver {STUB}\n")
    targets = json.dumps((*ALLOWED, *HOSTS_OWN, *LOOPBACK, *SPELLINGS, *METADATA, *PRIVATE))
    done = pyro("run", "debian:12", "--network", "--timeout-seconds", "90", "--", "python3", "-c", PROBE, targets)
    if done.returncode != 0:
        sys.exit(done.stderr.decode("utf-8", "replace"))
    return json.loads(done.stdout)


def be_the_workspace() -> dict[str, object]:
    """Let a workspace's guest connect to everything after each operation, and return the results."""
    Path("/etc/resolv.conf").write_text(f"nameserver {STUB}\n")
    targets = json.dumps((*ALLOWED, *HOSTS_OWN, *LOOPBACK, *SPELLINGS, *METADATA, *PRIVATE))
    create = ("workspace", "create", "debian:12", "--id-only", "--network-policy")
    seen: dict[str, object] = {}

    def probe(turn: str) -> None:
        done = said("workspace", "exec", workspace_id, "--timeout-seconds", "60", "--", "python3", "-c", PROBE, targets)
        seen[turn] = json.loads(done)

    workspace_id = said(*create, "egress").decode().strip()
    try:
        probe("created")
        said("workspace", "stop", workspace_id)
        probe("started")
        said("workspace", "reset", workspace_id)
        probe("reset")
    finally:
        said("workspace", "delete", workspace_id)
    workspace_id = said(*create, "egress+published-ports").decode().strip()
    try:
        probe("published")
    finally:
        said("workspace", "delete", workspace_id)
    return seen


def said(*words: str) -> bytes:
    """Return what `pyro` printed; it must succeed."""
    done = pyro(*words)
    if done.returncode != 0:
        sys.exit(done.stderr.decode("utf-8", "replace"))
    return done.stdout


def _explore(
    egress: Egress, guest: WireGuest, targets: Iterable[str], may_be_silent: Collection[str]
) -> dict[str, object]:
    targets = list(targets)
    dns = egress.guest.dns[0]
    before = set(_listeners())
    seen: dict[str, object] = {
        "network": egress.guest.to_json(),
        "gateway": guest.find_gateway(),
        "tcp": guest.connect([(target, PORT) for target in targets], may_be_silent=may_be_silent),
        "udp": _who_answers(guest, targets, ALLOWED),
        "names": {name: guest.resolve(name, dns) for name in ("loopback.test", "allowed.test")},
    }
    opened = sorted(set(_listeners()) - before)
    seen["opened_on_host"] = opened
    ports = {int(listener.rpartition(":")[2], 16) for listener in opened if listener.startswith("udp ")}
    seen["strangers_heard"] = _strangers_are_heard(guest, ports)
    return seen


def _reached_later(guest: WireGuest) -> dict[str, str]:
    """Give the host public addresses while the guest's network is up, and return what the guest then finds there."""
    _addresses("other0", *(f"{address}/{128 if ':' in address else 32}" for address in LATER))
    with _serving("host", LATER, resolver_at=LATER[0]):
        wait_until(lambda: all(_connects(address) for address in LATER), timeout_s=30.0, what="the host's own services")

        def outcome() -> dict[str, str] | None:
            found = guest.connect([(address, PORT) for address in LATER])
            return found if "open" not in found.values() else None

        try:
            found = wait_until(outcome, timeout_s=60.0, what="the filter to follow the host's addresses")
        except PyroError:
            return {}
        return {**found, "udp": ",".join(_who_answers(guest, LATER))}


def _who_answers(guest: WireGuest, targets: Iterable[str], awaited: Collection[str] = ()) -> dict[str, str]:
    answers = guest.ask([(target, PORT) for target in targets], b"who is there", awaited)
    return {target: answer.decode() for target, answer in answers.items()}


def _strangers_are_heard(guest: WireGuest, ports: Iterable[int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for port in ports:
            for address in ("127.0.0.1", HOSTS_OWN[0]):
                stranger.sendto(b"unasked", (address, port))
        return not guest.hears_nothing(0.5)


@contextmanager
def readable_checkout() -> Generator[Path]:
    """Yield a copy of the code that every user can read, whatever directory this checkout is in."""
    # The session's own temporary directory is closed to other users.
    with tempfile.TemporaryDirectory(prefix="pyro-lab-", dir="/tmp") as made:
        copy = Path(made)
        for part in ("src/pyro_mcp", "tests/support"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield copy


class _serving:  # noqa: N801 - used as a statement
    """Accept TCP on PORT of each address, give a name there over UDP, and answer DNS at one of them."""

    def __init__(self, name: str, addresses: Iterable[str], resolver_at: str) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            sockets: dict[socket.socket, bool] = {}
            for address in addresses:
                self._bind(stack, address, socket.SOCK_STREAM, PORT).listen(64)
                sockets[self._bind(stack, address, socket.SOCK_DGRAM, PORT)] = False
            sockets[self._bind(stack, resolver_at, socket.SOCK_DGRAM, 53)] = True
            reading, writing = os.pipe()
            server = os.fork()
            if server == 0:
                os.close(writing)
                _answer(name, sockets, reading)
                os._exit(0)
            os.close(reading)
            stack.callback(os.waitpid, server, 0)
            stack.callback(os.close, writing)
            self._stack = stack.pop_all()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _bind(stack: ExitStack, address: str, kind: int, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        bound = stack.enter_context(socket.socket(family, kind))
        bound.bind((address, port))
        return bound


def _answer(name: str, sockets: dict[socket.socket, bool], until: int) -> None:
    by_fd = {endpoint.fileno(): endpoint for endpoint in sockets}
    poller = select.poll()
    for fd in (*by_fd, until):
        poller.register(fd, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == until:
                return
            data, client = by_fd[fd].recvfrom(2048)
            by_fd[fd].sendto(_dns_answer(data) if sockets[by_fd[fd]] else name.encode(), client)


def _dns_answer(question: bytes) -> bytes:
    address = "127.0.0.1" if b"loopback" in question else ALLOWED[0]
    # Without what may follow the question, such as the sizes that a resolver takes.
    asked = question[12 : question.index(b"\0", 12) + 5]
    if asked[-4:-2] != b"\0\1":
        return question[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + asked
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + ip_address(address).packed
    return question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked + record


def _connects(address: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((address, PORT)) == 0


def _listeners() -> list[str]:
    """Return every local address and port in this network namespace to which something could be sent."""
    found: list[str] = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/thread-self/net/{protocol}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            # TCP: listening; UDP: unconnected, so that anybody's datagram is taken.
            if state == ("0A" if protocol.startswith("tcp") else "07"):
                found.append(f"{protocol} {local}")
    return sorted(found)


def as_account(account: str) -> list[str]:
    """Return what runs the guest's part as `root`, as an ordinary `user` made from root, or as `oneself`."""
    match account:
        case "root":
            return []
        case "user":
            script = (
                "mount -t tmpfs -o mode=0755,size=16k tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200"
                ' && exec setpriv --reuid 64321 --regid 64321 --clear-groups -- "$@"'
            )
            return ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "sh"]
        case _:
            return ["unshare", "--user", "--map-user", account, "--map-group", account, "--"]


def _own_resolv_conf(stack: ExitStack) -> None:
    """Put a file over /etc/resolv.conf in this mount namespace, which the guest's part may write."""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        os.fchmod(file.fileno(), 0o666)
        process.run(["mount", "--bind", file.name, "/etc/resolv.conf"], timeout_s=10.0)
    stack.callback(process.run, ["umount", "/etc/resolv.conf"], timeout_s=10.0)


def _addresses(device: str, *addresses: str) -> None:
    for address in addresses:
        # Without "nodad" an IPv6 address can't be bound to until the link has settled.
        _ip("address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))


def _ip(*arguments: str) -> None:
    process.run(["ip", *arguments], timeout_s=10.0)


def run_lab(
    part: str,
    account: str,
    interpreter: str,
    checkout: Path = ROOT,
    *,
    module: str = "tests.support.egress_lab",
    variables: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Run the lab in namespaces of its own and return what `part` reached, and what the host itself could.

    `part` runs the code in `checkout`, which `account` must be able to read. `module` has the internet and the part.
    """
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    host = [sys.executable, "-m", "tests.support.egress_lab", "host"]
    lab = [*host, module, part, account, interpreter, str(checkout)]
    command = ["unshare", *mapped, "--net", "--mount", "--propagation", "private", "--", *lab]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **(variables or {})}
    return json.loads(process.run(command, timeout_s=timeout_s, env=env, cwd=ROOT).text)


if __name__ == "__main__":
    main()
