"""A QEMU that its guest has taken over finds itself in a jail: attack 8, tried from inside through its monitor."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.vmm.qemu.machine import QemuMachine
from tests.support.machines import Bench, greet

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm

TIMEOUT_S = 20.0
NAMESPACES = ("user", "pid", "net", "ipc", "uts", "mnt", "cgroup")


@pytest.fixture
def machine(qemu_bench: Bench, home: Path) -> Generator[QemuMachine]:
    with qemu_bench.started(qemu_bench.spec(home)) as started:
        assert isinstance(started, QemuMachine)
        yield started


def proc(machine: QemuMachine) -> Path:
    return Path(f"/proc/{machine.record.vmm_pid}")


def status(machine: QemuMachine) -> dict[str, str]:
    lines = (proc(machine) / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def refusal(machine: QemuMachine, name: str, **arguments: object) -> str:
    deadline = Deadline(TIMEOUT_S, "QEMU to answer")
    with machine.monitor(deadline) as monitor, pytest.raises(PyroError) as caught:
        monitor.execute(name, deadline, fd=None, **arguments)
    assert caught.value.code is ErrorCode.PROGRAM_FAILED
    return caught.value.message


def test_it_has_a_seccomp_filter_no_new_privileges_and_no_capabilities(machine: QemuMachine) -> None:
    found = status(machine)
    assert found["Name"].startswith("qemu-system")
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[name], 16) == 0
    tasks = list((proc(machine) / "task").iterdir())
    assert len(tasks) > 1
    assert all("\nSeccomp:\t2\n" in (task / "status").read_text() for task in tasks)
    # QEMU's own sandbox, and below it the list of calls that is ours.
    assert all("\nSeccomp_filters:\t2\n" in (task / "status").read_text() for task in tasks)


def test_it_is_not_root_and_started_by_root_it_is_nobody_else_either(machine: QemuMachine) -> None:
    uids = {int(word) for word in status(machine)["Uid"].split()}
    gids = {int(word) for word in status(machine)["Gid"].split()}
    assert 0 not in uids | gids
    if os.geteuid() == 0:
        assert len(uids) == len(gids) == 1
        assert min(uids) >= 0x70000000
        assert status(machine)["Groups"] == ""
    else:
        assert uids == {os.geteuid()}


def test_two_machines_started_by_root_have_different_users(
    machine: QemuMachine, qemu_bench: Bench, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        # An ordinary user has no other users to give.
        assert status(machine)["Uid"].split()[0] == str(os.geteuid())
        return
    with qemu_bench.started(qemu_bench.spec(tmp_path / "other")) as other:
        assert isinstance(other, QemuMachine)
        assert status(machine)["Uid"] != status(other)["Uid"]


def test_every_namespace_is_its_own_and_the_network_is_empty(machine: QemuMachine) -> None:
    for name in NAMESPACES:
        assert os.readlink(proc(machine) / "ns" / name) != os.readlink(f"/proc/self/ns/{name}")
    interfaces = re.findall(r"^\s*(\w+):", (proc(machine) / "net/dev").read_text(), re.MULTILINE)
    assert interfaces == ["lo"]
    assert len((proc(machine) / "net/route").read_text().splitlines()) <= 1


def test_it_sees_no_process_but_itself_and_no_file_but_its_own(machine: QemuMachine) -> None:
    root = proc(machine) / "root"
    assert [name for name in os.listdir(root / "proc") if name.isdigit()] == ["1"]
    assert set(os.listdir(root)) <= {"usr", "lib", "lib64", "etc", "proc", "boot", "bin"}
    assert set(os.listdir(root / "etc")) == {"ld.so.cache"}
    assert os.listdir(root / "boot") == []
    for path in ("home", "root", "tmp", "run", "var", "dev", "sys", "etc/passwd", "bin/sh", "usr/bin/sh"):
        assert not os.path.lexists(root / path)


def test_nothing_it_sees_can_be_written(machine: QemuMachine) -> None:
    mounts = [line.split() for line in (proc(machine) / "mounts").read_text().splitlines()]
    writable = [point for _, point, _, options, *_ in mounts if "ro" not in options.split(",")]
    # /proc itself is, as its own process's owner may write to it; there is nothing of the host in it.
    assert all(point == "/proc" or point.startswith("/proc/") for point in writable)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/proc/1/root/etc/passwd", "/dev/kvm", "/root", "/../etc/hosts"]
)
def test_a_file_outside_its_set_can_not_be_opened_through_its_monitor(machine: QemuMachine, path: str) -> None:
    said = refusal(machine, "blockdev-add", driver="file", filename=path, **{"node-name": "loot", "read-only": True})
    assert "No such file" in said
    greet(machine)


def test_a_file_can_not_be_made_through_its_monitor(machine: QemuMachine) -> None:
    for path in ("/loot", "/tmp/loot", "/usr/lib/loot", "/boot/loot"):
        assert "ould not" in refusal(machine, "pmemsave", val=0, size=4096, filename=path)
    greet(machine)


def test_it_can_not_reach_the_network_or_the_hosts_sockets(machine: QemuMachine) -> None:
    for address in (
        {"type": "inet", "host": "127.0.0.1", "port": "22"},
        {"type": "inet", "host": "8.8.8.8", "port": "53"},
        {"type": "unix", "path": "/run/dbus/system_bus_socket"},
    ):
        refusal(
            machine,
            "chardev-add",
            id="leak",
            backend={
                "type": "socket",
                "data": {"addr": {"type": address.pop("type"), "data": address}, "server": False},
            },
        )
    greet(machine)


def test_an_exec_from_it_is_its_death(machine: QemuMachine) -> None:
    canary = Path(machine.record.runtime_dir).parent / "canary"
    deadline = Deadline(TIMEOUT_S, "QEMU to answer")
    with machine.monitor(deadline) as monitor:
        with suppress(PyroError):
            monitor.execute("migrate", deadline, uri=f"exec:touch {canary}")
        with pytest.raises(PyroError) as caught:
            monitor.wait_for_event("NEVER", bool, deadline)
    assert caught.value.code is ErrorCode.GUEST_LOST
    assert machine.wait_for_end(TIMEOUT_S)
    assert not machine.is_alive()
    assert not canary.exists()


def test_qemu_misses_no_system_call(machine: QemuMachine) -> None:
    machine.shutdown(0.0)
    assert machine.wait_for_end(TIMEOUT_S)
    # The whole of it: what QEMU itself prints is left out of a tail.
    printed = Path(str(machine.record.facts["console"])).read_text()
    assert "qemu" in printed
    assert "not implemented" not in printed


def test_its_limits_are_set(machine: QemuMachine) -> None:
    limits = {line[:26].strip(): line[26:47].strip() for line in (proc(machine) / "limits").read_text().splitlines()}
    assert limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 1024
    assert int(limits["Max data size"]) <= 4 * 1024**3
    assert int(limits["Max file size"]) <= 1024**3


def test_it_holds_no_descriptor_that_it_was_not_meant_to(machine: QemuMachine) -> None:
    # QEMU 7.2 never closes the state that it was restored from; it was opened for reading.
    allowed = re.compile(r"socket:|pipe:|anon_inode:|/dev/null$|.*/(base|root)\.img$|.*/template/(ram|device-state)$")
    held = [os.readlink(entry) for entry in (proc(machine) / "fd").iterdir()]
    assert [target for target in held if not allowed.match(target)] == []
    assert sum(target.endswith("base.img") for target in held) >= 1


def test_where_the_host_permits_no_namespaces_there_is_an_error_and_no_vm(booting_bench: Bench, home: Path) -> None:
    assert booting_bench.boot_files is not None
    code = """
import sys
from pathlib import Path
from pyro_mcp.errors import PyroError
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.driver import BootFiles
from pyro_mcp.vmm.qemu.driver import QemuDriver
from tests.support.machines import Bench
home = Path(sys.argv[1])
bench = Bench(QemuDriver(home), Accelerator.TCG, BootFiles(Path(sys.argv[2]), Path(sys.argv[3])))
try:
    bench.start(bench.spec(home / "vm"))
except PyroError as error:
    print(error.code.value, error.message, error.hint)
"""
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    files = booting_bench.boot_files
    done = process.run(
        ["unshare", "-Ur", "sh", "-c", forbid, "sh", sys.executable, "-c", code, home, files.kernel, files.initramfs],
        timeout_s=60,
    )
    assert done.text.startswith("permission "), done
    assert "bwrap" in done.text
    assert "user.max_user_namespaces" in done.text
