"""The walls inside a guest: the workload is root there, and yet the agent, its lanes and the disks are out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken, ExecRequest, Stream
from pyro_mcp.errors import ErrorCode, PyroError
from tests.contract.agent.conftest import guest_in_machine
from tests.support.agents import Ran, run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import Guest

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guest]:
    """Give all tests one guest: none of them may hurt it."""
    with guest_in_machine(tmp_path_factory.mktemp("walls")) as guest:
        yield guest


@pytest.fixture
def session(guest: Guest) -> Generator[AgentSession]:
    """Give a test a session, and see that the agent answers after it."""
    with guest.session() as session:
        yield session
    with guest.session() as session:
        assert run(session, "echo well").stdout == b"well\n"


def lines(ran: Ran) -> list[str]:
    return ran.stdout.decode().splitlines()


def test_no_node_that_the_workload_makes_or_mounts_opens_a_lane_a_disk_or_memory(session: AgentSession) -> None:
    script = """
    mkdir -p /tmp/nodes && mount -t devtmpfs nodes /tmp/nodes || exit 9
    mknod /tmp/nodes/mem2 c 1 1; mknod /root/vda b 254 0; mknod /dev/vda b 254 0
    for node in /tmp/nodes/vd* /tmp/nodes/vport* /tmp/nodes/mem /tmp/nodes/mem2 /tmp/nodes/kmsg /tmp/nodes/console \\
        /tmp/nodes/ttyS0 /root/vda /dev/vda; do
        echo "$node"
        head -c 1 "$node" > /dev/null 2>&1 && echo "READ $node"
        (: > "$node") 2> /dev/null && echo "WRITTEN $node"
    done
    umount /tmp/nodes; rm -f /root/vda /dev/vda
    """
    found = lines(run(session, script))
    assert sum("vport" in line for line in found) >= 16
    assert sum("vd" in line for line in found) >= 4
    assert not [line for line in found if line.startswith(("READ", "WRITTEN"))]


def test_ordinary_devices_work(session: AgentSession) -> None:
    script = """
    head -c 4 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; echo x > /dev/null
    head -c 1 /dev/full > /dev/null; echo x > /dev/full 2> /dev/null || echo full
    python3 -c 'import pty, os; a, b = pty.openpty(); os.write(a, b"hi\\n"); print(os.read(b, 9), os.ttyname(b))'
    echo shared > /dev/shm/x && cat /dev/shm/x; rm /dev/shm/x
    """
    assert lines(run(session, script)) == [
        " 00 00 00 00",
        "8",
        "full",
        "b'hi\\n' /dev/pts/0",
        "shared",
    ]


def test_the_workload_can_not_load_modules_touch_ports_or_switch_the_machine_off(session: AgentSession) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {"init_module": (175, 0, 0, 0), "iopl": (172, 3), "reboot": (169, 0xfee1dead, 672274793, 0x4321fedc, 0),
         "kexec_load": (246, 0, 0, 0, 0)}
for name, call in calls.items():
    ctypes.set_errno(0)
    libc.syscall(*call)
    print(name, os.strerror(ctypes.get_errno()))
"""
    refused = dict(line.split(" ", 1) for line in lines(run(session, "python3", "-c", script)))
    assert set(refused.values()) == {"Operation not permitted"}


def test_root_can_do_what_root_does_in_a_machine_of_its_own(session: AgentSession) -> None:
    script = """
    set -e
    mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && echo in > /tmp/m/f && umount /tmp/m
    unshare -m -p -f --mount-proc true
    chown 1234:1234 /tmp/m && chmod u+s /tmp/m && su -s /bin/sh nobody -c 'id -un'
    ip link show lo > /dev/null 2>&1 || cat /proc/net/dev > /dev/null
    hostname
    """
    ran = run(session, script)
    assert ran.result.exit_code == 0, ran.stderr
    assert lines(ran)[0] == "nobody"


def test_the_agent_is_not_to_be_seen(session: AgentSession) -> None:
    found = lines(run(session, "cat /proc/[0-9]*/comm; ls /"))
    assert "pyro-init" in found
    assert not {"python3", "init", "toolbox", "modules"} & set(found)
    assert lines(run(session, "cat /proc/1/comm; ls /proc/1/root/ | head -3"))[0] == "pyro-init"


def test_the_first_process_of_the_workload_can_not_be_killed(session: AgentSession) -> None:
    assert lines(run(session, "kill -9 1; kill -STOP 1; kill -SEGV 1; cat /proc/1/comm; echo still here"))[-2:] == [
        "pyro-init",
        "still here",
    ]


def test_the_limits_are_out_of_reach(session: AgentSession) -> None:
    # The groups of single commands count their memory and limit nothing: the limit is above what the workload sees.
    script = """
    mkdir -p /tmp/cg && mount -t cgroup2 none /tmp/cg || exit 9
    find /tmp/cg -name pids.max
    find /tmp/cg -name memory.max | xargs cat | sort -u
    ls -d /tmp/cg/exec* > /dev/null && echo mounted
    umount /tmp/cg
    """
    assert lines(run(session, script)) == ["max", "mounted"]


#: Says `ready`, looks for the process that waits for the next command, does to it what $1 says, and says `done`.
HUNTER = """
echo ready
while :; do
    for place in /proc/[0-9]*; do
        pid=${place#/proc/}
        if [ "$pid" != 1 ] && grep -qs '/[t]oolbox/' "$place/cmdline"; then
            kill "-$1" "$pid" || continue
            # A read that the signal interrupts may still take a request that comes at the same time.
            while [ -e "$place" ] && ! grep -qs '^State:.[ZT]' "$place/status"; do :; done
            echo done && exec sleep 1000
        fi
    done
done
"""


def after_the_hunt(guest: Guest, signal_name: str, then: Callable[[AgentSession], Ran]) -> Ran:
    """Hit the waiting process with a signal, and return what comes of the next command."""
    token = CancelToken()
    found: list[Ran] = []

    def take(_stream: Stream, data: bytes) -> None:
        with guest.session() as other:
            if b"ready" in data:
                # The next process is made to wait when a command has ended.
                run(other, "true")
            if b"done" in data:
                found.append(then(other))
                token.cancel()

    with guest.session() as session, pytest.raises(PyroError) as caught:
        session.exec(ExecRequest(("sh", "-c", HUNTER, "sh", signal_name), timeout_s=60), on_output=take, cancel=token)
    assert caught.value.code is ErrorCode.CANCELLED
    return found[0]


def test_a_waiting_process_that_the_workload_kills_is_replaced(guest: Guest) -> None:
    assert after_the_hunt(guest, "KILL", lambda session: run(session, "echo on")).stdout == b"on\n"


def test_a_waiting_process_that_the_workload_stops_costs_one_command_its_timeout(guest: Guest) -> None:
    assert after_the_hunt(guest, "STOP", lambda session: run(session, "echo on", timeout_s=2)).result.timed_out
    with guest.session() as session:
        assert run(session, "echo on").stdout == b"on\n"


def test_killing_everything_leaves_the_agent_and_the_next_command(guest: Guest, session: AgentSession) -> None:
    assert run(session, "kill -9 -1; echo the last").stdout == b"the last\n"
    assert run(session, "echo on").stdout == b"on\n"


def test_commands_run_although_their_devices_were_removed(session: AgentSession) -> None:
    run(session, "rm -rf /dev/* 2> /dev/null; ! test -e /dev/null")
    assert run(session, "cat; echo on").stdout == b"on\n"
    run(session, "mknod -m 666 /dev/null c 1 3")
    assert run(session, "echo x > /dev/null && echo back").stdout == b"back\n"


def test_files_that_name_the_guest_are_files_as_any_other(session: AgentSession) -> None:
    script = "sed -i 's/localhost/localhost also/' /etc/hosts; head -1 /etc/hosts; wc -c < /etc/machine-id"
    assert lines(run(session, script)) == ["127.0.0.1 localhost also", "33"]
    assert run(session, "rm /etc/hosts && mv /etc/machine-id /etc/resolv.conf /tmp").result.exit_code == 0
