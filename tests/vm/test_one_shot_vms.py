"""The life of a one-shot VM, with real guests."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import ExecutionMode, Isolation, StopReason
from pyro_mcp.model.limits import Shape
from pyro_mcp.model.states import VmState
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.vms.run import run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import status_vm
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.thorough import is_thorough

if TYPE_CHECKING:
    from tests.support.host_fixture import HostFixture
    from tests.support.one_verb import Verbs

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

# `make soak` asks for a thousand.
LIVES = int(os.environ.get("PYRO_TEST_LIVES", "16"))
WHO_AM_I = """
cat /proc/sys/kernel/random/uuid
head -c 16 /dev/urandom | od -An -tx1
cat /etc/machine-id
mktemp -u
hostname
"""
PYTHON_RANDOM = "python3 -c 'import random; print(random.getrandbits(128))'"


def test_git_runs_in_a_real_virtual_machine(guests: HostFixture) -> None:
    result = guests.run("git --version; uname -r; id -u; pwd")
    assert result.exit_code == 0
    version, kernel, user, directory = result.stdout.splitlines()
    assert version.startswith("git version 2.")
    assert kernel != os.uname().release
    assert (user, directory) == ("0", "/workspace")
    assert result.execution_mode is ExecutionMode.GUEST_VIRTIO_SERIAL
    assert result.isolation in {Isolation.TCG, Isolation.KVM}
    assert guests.remains() == []


def test_arguments_keep_their_boundaries_and_odd_characters(guests: HostFixture) -> None:
    words = ("a  b", "", "*", "$(id)", "; reboot", "-n", "new\nline", "ünï", "\udcff")
    result = guests.run(("printf", "%s|", *words))
    assert result.stdout == "|".join(words[:-1]) + "|\ufffd|"


def test_create_start_exec_in_three_processes(guests: HostFixture, others: Verbs) -> None:
    vm_id = others.run("create").stdout
    assert others.run("start", vm_id).status == 0
    assert others.run("exec", vm_id, "hostname").stdout == vm_id.replace("_", "-")[:12] + "\n"
    assert guests.remains() == []


def test_a_stopped_vm_keeps_its_root_file_system(guests: HostFixture) -> None:
    vm = guests.started()
    guests.inside(vm, "echo kept > /root/file; mkdir -p /workspace/tree; echo deep > /workspace/tree/leaf")
    stopped = stop_vm(guests.engine, vm.id)
    assert (stopped.state, stopped.stop_reason) == (VmState.STOPPED, StopReason.USER)
    again = start_vm(guests.engine, vm.id)
    assert guests.inside(again, "cat /root/file /workspace/tree/leaf; dmesg | grep -c recovery || true") == (
        "kept\ndeep\n0\n"
    )
    assert guests.exec(again, "hostname").exit_code == 0
    assert guests.remains() == []


def test_the_shape_that_was_asked_for_is_what_the_guest_has(guests: HostFixture) -> None:
    result = run_in_vm(
        guests.engine, guests.spec(shape=Shape(2, 512)), GuestCommand("nproc; grep MemTotal /proc/meminfo")
    )
    cpus, memory = result.stdout.splitlines()
    assert cpus == "2"
    assert 300_000 < int(memory.split()[1]) < 512 * 1024


def test_a_guest_without_a_network_reaches_nothing(guests: HostFixture) -> None:
    result = guests.run("ls /sys/class/net; ip route 2>/dev/null; cat /etc/resolv.conf; curl -m 2 http://1.1.1.1; true")
    assert result.stdout.split() in (["eth0", "lo"], ["lo"])


def test_many_restores_at_once_are_as_many_different_guests(guests: HostFixture) -> None:
    count, with_python = (50, 20) if is_thorough() else (12, 4)
    guests.run()
    barrier = threading.Barrier(count)

    def life(number: int) -> list[str]:
        barrier.wait()
        # Python costs a guest without hardware acceleration half a second: some of them will do for that.
        command = WHO_AM_I + (PYTHON_RANDOM if number < with_python else "")
        result = run_in_vm(guests.engine, guests.spec(), GuestCommand(command, timeout_s=200))
        assert result.exit_code == 0, result.stderr
        return result.stdout.splitlines()

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(life, range(count)))
    for kind, values in enumerate(zip(*(answer[:5] for answer in answers), strict=True)):
        assert len(set(values)) == count, f"answer {kind} came more than once"
    assert len({answer[5] for answer in answers[:with_python]}) == with_python
    assert guests.remains() == []


def test_a_vm_whose_time_is_up_is_gone_with_its_disk_although_nobody_looks(guests: HostFixture) -> None:
    from pyro_mcp.host.waiting import wait_until

    guests.run()
    vm = guests.started(ttl_s=3)
    wait_until(lambda: not guests.files(vm).directory.exists(), timeout_s=60, what="the disk to go unasked")
    wait_until(lambda: guests.processes() == [], timeout_s=10, what="its processes to end")
    with pytest.raises(PyroError) as caught:
        status_vm(guests.engine, vm.id)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert guests.remains() == []


@pytest.mark.timeout(300 + 4 * LIVES)
def test_many_lives_leave_descriptors_threads_memory_and_files_as_they_were(guests: HostFixture) -> None:
    for _ in range(3):
        guests.run()
        guests.exec(guests.started())

    def held() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(list(guests.paths.state.rglob("*")))

    before, memory = held(), resident_bytes()
    for _ in range(LIVES // 2):
        guests.run()
        guests.exec(guests.started())
    assert held() == before
    assert resident_bytes() - memory < 16 * 1024**2
    assert guests.remains() == []


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
