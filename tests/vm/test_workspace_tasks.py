"""Tasks that need a guest with disks of its own: differences told from inodes, stopped ones looked at and exported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.agent.file_values import Area, DiffBounds
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.trees.seed import seed_disk
from tests.support.agents import TIMEOUT_S, run
from tests.support.workspace_guest import Disks, WorkspaceBench, workspace_bench

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.vmm.driver import Machine

pytestmark = pytest.mark.vm

BOUNDS = DiffBounds(1000, 1 << 20, 8 << 20)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[WorkspaceBench]:
    with workspace_bench(tmp_path_factory.mktemp("guests")) as bench:
        yield bench


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    tree = tmp_path / "tree"
    for directory in ("a", "b/inner", "c"):
        (tree / directory).mkdir(parents=True)
        for number in range(5):
            (tree / directory / f"file{number}").write_text(f"{directory} {number}\n")
    (tree / "link").symlink_to("a/file0")
    disks = Disks(tmp_path / "disks")
    disks.seed(tree)
    return disks


def opened(machine: Machine) -> AgentSession:
    return AgentSession.open(machine.transport, timeout_s=TIMEOUT_S)


def power_off(machine: Machine) -> None:
    with opened(machine) as session:
        session.poweroff()
    assert machine.wait_for_end(TIMEOUT_S)


def refused(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    return caught.value


def changes(session: AgentSession) -> dict[bytes, DiffChange]:
    diff = GuestFiles(session).diff(BOUNDS)
    assert diff.total == len(diff.entries)
    return {entry.path: entry.change for entry in diff.entries}


def test_a_workspace_that_nobody_touched_does_not_differ(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine, opened(machine) as session:
        assert changes(session) == {}
        run(session, "cat */* > /dev/null; touch a/file0; chmod 600 c/file1; chmod 644 c/file1; mv b b2; mv b2 b; sync")
        assert changes(session) == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("echo x > b/inner/file3", {b"b/inner/file3": DiffChange.MODIFIED}),
        ("printf 'b/inner 9\\n' > b/inner/file3", {b"b/inner/file3": DiffChange.MODIFIED}),
        ("chmod 600 c/file1", {b"c/file1": DiffChange.MODIFIED}),
        ("rm c/file2; cp a/file2 c/file2", {b"c/file2": DiffChange.MODIFIED}),
        ("rm c/file2; printf 'c 2\\n' > c/file2", {}),
        ("ln -sfn a/file1 link", {b"link": DiffChange.MODIFIED}),
        ("rm a/file0; mkdir a/file0", {b"a/file0": DiffChange.TYPE_CHANGED}),
        (
            "mv a/file0 t; mv a/file1 a/file0; mv t a/file1",
            {b"a/file0": DiffChange.MODIFIED, b"a/file1": DiffChange.MODIFIED},
        ),
        (
            "mv a t; mv c a; mv t c; rm a/file0 a/file1 a/file2 a/file3 c/file1 c/file2 c/file3 c/file4",
            {
                **{b"a/file%d" % number: DiffChange.DELETED for number in range(4)},
                **{b"c/file%d" % number: DiffChange.DELETED for number in range(1, 5)},
                b"a/file4": DiffChange.MODIFIED,
                b"c/file0": DiffChange.MODIFIED,
            },
        ),
        ("mkdir -p new/empty; date -s @0 > /dev/null; echo x > c/file4", {
            b"new/empty": DiffChange.ADDED, b"c/file4": DiffChange.MODIFIED,
        }),
    ],
)  # fmt: skip
def test_each_way_of_changing_a_file_is_seen(
    bench: WorkspaceBench, disks: Disks, line: str, expected: dict[bytes, DiffChange]
) -> None:
    with bench.running(disks) as machine, opened(machine) as session:
        assert run(session, line).result.exit_code == 0
        assert changes(session) == expected


def test_the_workload_does_not_see_tasks(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine, opened(machine) as session:
        GuestFiles(session).write(b"x", b"")
        ran = run(session, "kill -9 -1 2> /dev/null; ls -d /proc/[0-9]* | wc -l")
        assert int(ran.stdout or b"0") <= 5
        assert GuestFiles(session).read(b"x", max_bytes=1).data == b""


def test_a_guest_that_held_its_own_workspace_still_can_be_switched_off(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine:
        with opened(machine) as session, opened(machine) as other:
            holding = GuestFiles(session).frozen()
            holding.__enter__()
            other.poweroff()
        assert machine.wait_for_end(TIMEOUT_S)
    assert process.run(["e2fsck", "-fn", disks.workspace], timeout_s=60).returncode == 0


def stopped(bench: WorkspaceBench, disks: Disks) -> None:
    """Leave a stopped guest with traces in its root and its workspace."""
    line = """
    mkdir -p /root/dir /srv/run; echo secret > /run/secret; echo root > /root/dir/file; rm /etc/debian_version
    ln /root/dir/file /root/hard; ln -s /root/dir/file /root/abs; chown 7:8 /root/dir/file; chmod 4755 /root/dir/file
    truncate -s 100M /root/sparse; mkfifo /root/fifo; echo work > work; printf 'odd' > "$(printf 'odd\\377')"
    """
    with bench.running(disks) as machine:
        with opened(machine) as session:
            assert run(session, line).result.exit_code == 0
        power_off(machine)


def beginning(path: Path) -> bytes:
    """Return what holds the superblock, of a file too large to be read whole."""
    with path.open("rb") as file:
        return file.read(65536)


def test_a_stopped_guest_is_looked_at_and_nothing_changes(bench: WorkspaceBench, disks: Disks) -> None:
    stopped(bench, disks)
    before = [beginning(path) for path in (disks.root, disks.workspace)]
    with bench.running(disks, inspect=True) as machine:
        with opened(machine) as session:
            files = GuestFiles(session, area=Area.ROOT)
            assert files.read(b"root/dir/file", max_bytes=10).data == b"root\n"
            assert files.read(b"root/abs", max_bytes=10).data == b"root\n"
            assert files.read(b"workspace/work", max_bytes=10).data == b"work\n"
            assert refused(lambda: files.read(b"etc/debian_version", max_bytes=10)).message == (
                "/etc/debian_version does not exist"
            )
            assert files.list(b"run", recursive=True, limit=10).entries == ()
            kinds = {entry.path: entry.kind for entry in files.list(b"", recursive=False, limit=100).entries}
            assert kinds[b"workspace"] is FileKind.DIRECTORY
            assert GuestFiles(session).list(b"", recursive=False, limit=10).entries[-1].path == b"work"
            assert refused(lambda: GuestFiles(session).write(b"x", b"")).code is ErrorCode.UNSUPPORTED
            assert refused(lambda: run(session, "true")).code is ErrorCode.CONFLICT
        power_off(machine)
    assert [beginning(path) for path in (disks.root, disks.workspace)] == before


def test_a_running_guest_shows_its_workspace_only(bench: WorkspaceBench, disks: Disks) -> None:
    with bench.running(disks) as machine, opened(machine) as session:
        files = GuestFiles(session, area=Area.ROOT)
        assert refused(lambda: files.read(b"etc/passwd", max_bytes=10)).code is ErrorCode.UNSUPPORTED
        assert refused(files.export_root).code is ErrorCode.UNSUPPORTED


def test_the_whole_root_goes_onto_one_disk(bench: WorkspaceBench, disks: Disks, tmp_path: Path) -> None:
    stopped(bench, disks)
    output = tmp_path / "output.img"
    seed_disk(None, output, ROOT_DISK_BYTES, Silent())
    with bench.running(disks, inspect=True, output=output) as machine:
        with opened(machine) as session:
            used = GuestFiles(session, area=Area.ROOT).export_root()
        power_off(machine)
    assert used > 10_000_000
    assert process.run(["e2fsck", "-fn", output], timeout_s=60).returncode == 0

    def debugfs(request: str) -> str:
        done = process.run(["debugfs", "-R", request, output], timeout_s=30)
        return done.stdout.decode("utf-8", "replace")

    assert debugfs("cat /root/dir/file") == "root\n"
    assert debugfs("cat /workspace/work") == "work\n"
    state = debugfs("stat /root/dir/file")
    assert "Mode:  04755" in state
    assert "User:     7   Group:     8" in state
    assert "Links: 2" in state
    assert 'Fast link dest: "/root/dir/file"' in debugfs("stat /root/abs")
    assert "Blockcount: 0" in debugfs("stat /root/sparse")
    assert "FIFO" in debugfs("stat /root/fifo")
    assert [
        line for line in debugfs("ls -p /run").splitlines() if line and "/./" not in line and "/../" not in line
    ] == []
    assert (
        "not found" in process.run(["debugfs", "-R", "stat /etc/debian_version", output], timeout_s=30).stderr.decode()
    )
    assert os.path.getsize(output) == ROOT_DISK_BYTES
