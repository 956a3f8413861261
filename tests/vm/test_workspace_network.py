"""What a workspace's guest reaches at each turn of its life, and that its network ends with it, whoever is killed."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.kinds import NetworkPolicy
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import GuestCommand
from tests.support.egress_lab import ALLOWED, HOSTS_OWN, LOOPBACK, METADATA, PRIVATE, SPELLINGS, run_lab
from tests.support.leaks import descendants
from tests.support.pyro_cli import pyro, pyro_json
from tests.vm.test_egress import CONNECTED, KEPT_OUT, needs_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.model.workspace import Workspace
    from tests.support.host_fixture import HostFixture
    from tests.support.one_verb import Verbs

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

TURNS = ("created", "started", "reset", "published")
# From inside, as root of the guest: what there is, and whether anything leads out after one has helped oneself to it.
LOOK_FOR_A_WAY_OUT = r"""
import fcntl, os, socket, struct

def inet(address):
    return struct.pack("H2x4s8x", socket.AF_INET, socket.inet_aton(address))

outside = "198.51.100.1", "10.213.77.1", "169.254.169.254", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1"

def tries():
    for address in outside:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.settimeout(0.5)
            try:
                probe.connect(socket.getaddrinfo(address, 80, proto=socket.IPPROTO_TCP)[0][4])
                yield "connected"
            except OSError:
                yield "no"

print(os.listdir("/sys/class/net"), len(open("/proc/net/route").readlines()), open("/etc/resolv.conf").read())
print(set(tries()))
# As who knows how egress looks would set it up.
control, name = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), b"eth0".ljust(16, bytes(1))
fcntl.ioctl(control, 0x8916, name + inet("10.213.77.2"))
fcntl.ioctl(control, 0x891C, name + inet("255.255.255.0"))
fcntl.ioctl(control, 0x8914, name + struct.pack("H22x", 0x1 | 0x2 | 0x40))
default = struct.pack("8x16s16s16sH", inet("0.0.0.0"), inet("10.213.77.1"), inet("0.0.0.0"), 3)
fcntl.ioctl(control, 0x890B, default.ljust(120, bytes(1)))
print(len(open("/proc/net/route").readlines()), set(tries()))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 0))
wire.settimeout(1)
asking = "ffffffffffff525400123456" + "08060001080006040001" + "525400123456" + "0ad54d02" + "000000000000" + "0ad54d01"
heard = set()
for _ in range(20):
    wire.send(bytes.fromhex(asking))
try:
    while True:
        _, source = wire.recvfrom(2048)
        heard.add("answer" if source[2] != socket.PACKET_OUTGOING else "own")
except TimeoutError:
    print(heard - {"own"})
"""


def carriers() -> list[str]:
    """Return the processes of this test that carry packets."""
    return [each.name for each in descendants() if each.name.startswith(("passt", "pasta")) and not each.is_dead]


def carried_by(yard: HostFixture, workspace: Workspace) -> list[str]:
    """Return who carries a workspace's packets, which `off` says is nobody."""
    vm = yard.engine.store.vms.find(yard.engine.store.workspaces.get(workspace.id).vm_id)
    assert vm is not None
    assert vm.machine is not None
    with open(f"/proc/{vm.machine.vmm_pid}/cmdline", "rb") as file:
        command = file.read().decode()
    assert ("-netdev" in command) == vm.network_policy.has_network
    return carriers()


@pytest.fixture(scope="module")
def seen() -> Mapping[str, Any]:
    """Return what a program in a workspace on the lab's host saw at each turn."""
    account = "root" if os.geteuid() == 0 else str(os.geteuid())
    return run_lab("workspace", account, sys.executable)


@needs_network
@pytest.mark.parametrize("turn", TURNS)
def test_egress_leads_to_the_world_and_nowhere_near_at_each_turn_of_life(seen: Mapping[str, Any], turn: str) -> None:
    tcp = seen[turn]["tcp"]
    assert {tcp[address] for address in ALLOWED} <= CONNECTED
    assert seen[turn]["names"] == {"allowed.test": ALLOWED[0], "loopback.test": "127.0.0.1"}
    near = (*HOSTS_OWN, *METADATA, *PRIVATE, *LOOPBACK)
    assert {address: seen["controls"][address] for address in near} == dict.fromkeys(near, True)
    assert {tcp[address] for address in near} <= KEPT_OUT
    assert {tcp[address] for address in SPELLINGS} <= KEPT_OUT | {errno.EINVAL, errno.EACCES}


def test_off_is_a_card_that_leads_nowhere_whatever_the_guests_root_does(guests: HostFixture) -> None:
    workspace = guests.workspace()
    assert carried_by(guests, workspace) == []
    command = GuestCommand(("python3", "-c", LOOK_FOR_A_WAY_OUT), 60)
    done = exec_workspace(guests.engine, workspace.id, command)
    assert done.exit_code == 0, done.stderr
    found, at_first, helped, heard = done.stdout.splitlines()
    assert found in {"['eth0', 'lo'] 1 ", "['lo', 'eth0'] 1 "}
    assert (at_first, helped, heard) == ("{'no'}", "3 {'no'}", "set()")
    reset_workspace(guests.engine, workspace.id)
    stop_workspace(guests.engine, workspace.id)
    start_workspace(guests.engine, workspace.id)
    assert carried_by(guests, workspace) == []


@needs_network
def test_a_network_ends_and_begins_with_the_guest(guests: HostFixture) -> None:
    workspace = guests.workspace(network_policy=NetworkPolicy.EGRESS)
    at_first = carried_by(guests, workspace)
    assert at_first
    stop_workspace(guests.engine, workspace.id)
    assert_no_carriers()
    start_workspace(guests.engine, workspace.id)
    assert sorted(carried_by(guests, workspace)) == sorted(at_first)
    reset_workspace(guests.engine, workspace.id)
    wait_until(lambda: len(carriers()) == len(at_first), timeout_s=30, what="the old network to end")
    delete_workspace(guests.engine, workspace.id)
    assert_no_carriers()


@needs_network
def test_a_vmm_that_is_killed_takes_its_network_along_and_the_next_start_brings_another(guests: HostFixture) -> None:
    workspace = guests.workspace(network_policy=NetworkPolicy.EGRESS)
    kill_vmm(guests, workspace)
    assert_no_carriers()
    assert "eth0" in guests.do(workspace, "cat /proc/net/route")
    assert carriers()


@needs_network
def test_a_guest_whose_network_was_killed_goes_on_without_one_until_it_is_started_again(guests: HostFixture) -> None:
    workspace = guests.workspace(network_policy=NetworkPolicy.EGRESS)
    victim = next(each for each in descendants() if each.name.startswith("passt"))
    process.send_signal(victim.pid, victim.start_time, signal.SIGKILL)
    assert_no_carriers()
    assert guests.do(workspace, "echo still here") == "still here\n"
    stop_workspace(guests.engine, workspace.id)
    start_workspace(guests.engine, workspace.id)
    assert carried_by(guests, workspace)


@needs_network
@pytest.mark.parametrize("point", ["network.started", "network.ready", "ws_machine.launched"])
@pytest.mark.parametrize("verb", ["ws-start", "ws-reset", "ws-exec"])
def test_a_caller_that_is_killed_while_a_network_is_made_leaves_none(
    guests: HostFixture, others: Verbs, verb: str, point: str
) -> None:
    workspace = guests.workspace(network_policy=NetworkPolicy.EGRESS)
    if verb != "ws-reset":
        stop_workspace(guests.engine, workspace.id)
        assert_no_carriers()
    before = len(carriers())
    rest = ("true",) if verb == "ws-exec" else ()
    assert others.run(verb, workspace.id, *rest, PYRO_FAULT_POINT=point).status is None
    guests.engine.reconcile()
    state = guests.engine.store.workspaces.get(workspace.id).state
    assert state is (WorkspaceState.STARTED if verb == "ws-reset" else WorkspaceState.STOPPED)
    wait_until(lambda: len(carriers()) == before, timeout_s=30, what="what was begun to end")
    assert "eth0" in guests.do(workspace, "cat /proc/net/route")


@needs_network
@pytest.mark.parametrize("point", ["network.started", "network.ready", "ws_create.started"])
def test_a_creation_that_is_killed_leaves_no_network(
    guests: HostFixture, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", point)
    done = pyro("workspace", "create", "debian:12", "--network-policy", "egress")
    assert done.returncode == -signal.SIGKILL
    monkeypatch.delenv("PYRO_FAULT_POINT")
    # What was recorded as started is a workspace like any other; anything less is gone.
    left = pyro_json("workspace", "list")["workspaces"]
    assert [each["state"] for each in left] == (["started"] if point == "ws_create.started" else [])
    wait_until(lambda: bool(carriers()) == bool(left), timeout_s=30, what="the network of what is gone to end")
    for each in left:
        delete_workspace(guests.engine, each["workspace_id"])
    assert_no_carriers()
    assert guests.remains() == []


def assert_no_carriers() -> None:
    wait_until(lambda: not carriers(), timeout_s=30, what="the network's processes to end")


def kill_vmm(yard: HostFixture, workspace: Workspace) -> None:
    vm = yard.engine.store.vms.get(workspace.vm_id)
    assert vm.machine is not None
    process.send_signal(vm.machine.vmm_pid, vm.machine.vmm_start_time, signal.SIGKILL)
