"""What a guest has answered is on the workspace's disk, and what a killed machine left half done is removed."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.agent.file_values import Delete, DiffBounds, Write
from pyro_mcp.agent.files import GuestFiles
from tests.support.agents import TIMEOUT_S, run
from tests.support.workspace_guest import Disks, WorkspaceBench, workspace_bench

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.vmm.driver import Machine

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[WorkspaceBench]:
    with workspace_bench(tmp_path_factory.mktemp("guests")) as bench:
        yield bench


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    disks = Disks(tmp_path / "disks")
    disks.seed(None)
    return disks


def written(files: GuestFiles) -> None:
    files.write(b"a", b"new a\n")
    files.write(b"made/here/b", b"new b\n")


def patched(files: GuestFiles) -> None:
    changes = [Write(b"a", b"new a\n", 0o644, created=False), Write(b"made/here/b", b"new b\n", 0o644, created=True)]
    files.apply([*changes, Delete(b"gone")])


def patched_widely(files: GuestFiles) -> None:
    patched(files)
    files.apply([Write(b"many/%d" % number, b"new\n", 0o644, created=True) for number in range(40)])


def pushed(files: GuestFiles) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in (("a", b"new a\n"), ("made/here/b", b"new b\n")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    files.unpack(b"", [stream.getvalue()])


@pytest.mark.parametrize("change", [written, patched, patched_widely, pushed])
def test_what_was_answered_is_there_after_the_machine_is_killed(
    bench: WorkspaceBench, disks: Disks, change: Callable[[GuestFiles], None]
) -> None:
    with bench.running(disks) as machine:
        with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
            run(session, "echo old a > a; echo old > gone; sync")
            change(GuestFiles(session))
        machine.kill()
    with bench.running(disks) as machine, AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
        gone = b"" if "patched" in change.__name__ else b"old\n"
        assert run(session, "cat a made/here/b; cat gone 2>/dev/null").stdout == b"new a\nnew b\n" + gone
        if change is patched_widely:
            assert run(session, "cat many/* | sort | uniq -c").stdout.split() == [b"40", b"new"]
        assert not run(session, "find . -name '.pyro-*'").stdout


def test_what_a_cut_off_task_left_is_removed_at_the_next_start_and_by_the_next_task(
    bench: WorkspaceBench, disks: Disks
) -> None:
    left = "mkdir .pyro-0123456789abcdef; echo x > .pyro-0123456789abcdef/0; echo y > .pyro-fedcba9876543210"
    own = "mkdir .pyro-00112233445566778 .pyro-0011223344556677; echo mine > .pyro-0011223344556677/notes"
    kept = b".pyro-0011223344556677\n.pyro-00112233445566778\n"
    with bench.running(disks) as machine:
        with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
            run(session, f"{left}; {own}; sync")
        machine.kill()
    with bench.running(disks) as machine, AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
        assert run(session, "ls -d .pyro-*").stdout == kept
        run(session, left)
        GuestFiles(session).diff(DiffBounds(10, 10, 10))
        assert run(session, "ls -d .pyro-*").stdout == kept
        run(session, left)
        GuestFiles(session).write(b"a", b"")
        assert run(session, "ls -d .pyro-*").stdout == kept


def power_off(machine: Machine) -> None:
    with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
        session.poweroff()
    assert machine.wait_for_end(TIMEOUT_S)


def test_a_started_guest_does_what_the_files_of_its_root_disk_say(bench: WorkspaceBench, disks: Disks) -> None:
    shown = "sysctl -n fs.inotify.max_user_watches net.ipv4.ip_forward; ulimit -n; ulimit -Hn; ulimit -Sl"
    with bench.running(disks) as machine:
        with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
            assert run(session, shown).stdout.split()[:2] == [b"524288", b"0"]
            run(
                session,
                "echo fs.inotify.max_user_watches=700000 > /etc/sysctl.d/90-mine.conf; mkfifo /etc/sysctl.d/b.conf",
            )
            run(session, "echo '-net/ipv4/ip_forward = 1' >> /etc/sysctl.conf; echo ../../etc/x=1 >> /etc/sysctl.conf")
            run(session, "mkdir -p /etc/security/limits.d; ln -s . /etc/security/limits.d/loop.conf")
            limits = (
                r"* soft nofile 4096\n* hard nofile 600000 # many\nroot - memlock unlimited\n@x - nofile 7\nroot - as\n"
            )
            run(session, rf"printf '{limits}' > /etc/security/limits.d/90-mine.conf")
            run(session, "mkdir -p /etc/ssh; echo key > /etc/ssh/ssh_host_ed25519_key; chmod 600 /etc/ssh/ssh_host_*")
        power_off(machine)
    with bench.running(disks) as machine, AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
        assert run(session, shown).stdout.split() == [b"700000", b"1", b"4096", b"600000", b"unlimited"]
        assert run(session, "stat -c %a /etc/ssh/ssh_host_*; cat /etc/ssh/ssh_host_*").stdout == b"600\nkey\n"


def test_the_files_that_name_the_guest_stay_as_its_user_left_them(bench: WorkspaceBench, disks: Disks) -> None:
    names = "cat /etc/hosts /etc/machine-id /etc/resolv.conf; hostname"
    with bench.running(disks) as machine:
        with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
            run(session, "sed -i '$a 127.0.0.1 db.internal' /etc/hosts; echo nameserver 192.0.2.1 > /etc/resolv.conf")
            run(session, "echo other-name > /etc/hostname")
            before = run(session, names).stdout.splitlines()
        power_off(machine)
    with bench.running(disks) as machine:
        with AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
            assert run(session, names).stdout.splitlines() == [*before[:-1], b"other-name"]
            assert b"db.internal" in before[3]
            assert run(session, "getent hosts db.internal").stdout.startswith(b"127.0.0.1")
            assert run(session, "dmesg | grep -c recovery").stdout == b"0\n"
            run(session, "rm /etc/hosts /etc/machine-id; ln -sf /workspace/x /etc/resolv.conf; echo / > /etc/hostname")
        power_off(machine)
    with bench.running(disks) as machine, AgentSession.open(machine.transport, timeout_s=TIMEOUT_S) as session:
        script = "head -1 /etc/hosts; wc -c < /etc/machine-id; readlink /etc/resolv.conf; hostname; ls x 2>&1"
        hosts, size, link, hostname, gone = run(session, script).stdout.splitlines()
        assert (hosts, size, link) == (b"127.0.0.1 localhost", b"33", b"/workspace/x")
        assert hostname == b"guest-test01"
        assert b"No such file" in gone
