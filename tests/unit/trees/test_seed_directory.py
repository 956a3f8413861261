"""A directory is laid into a workspace's disk as it is, owned by root, without being followed anywhere."""

from __future__ import annotations

import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.directory import OWN_FILES, DirectorySource
from pyro_mcp.trees.entries import Bounds, Entry, Kind, Note, TreeMode
from pyro_mcp.trees.report import SeedReport
from pyro_mcp.trees.seed import seed_disk
from tests.unit.trees.listed import Listed, directory
from tests.unit.trees.looking_in import DISK_BYTES, assert_clean, described, inode, unpacked

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and gives files away")
WORKSPACE_DISK_BYTES = 16 * 1024**3


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disks").mkdir()
    return tmp_path / "disks/workspace.img"


def seed(tree: Path | None, disk: Path, size_bytes: int = DISK_BYTES) -> SeedReport:
    report = seed_disk(tree, disk, size_bytes, Silent())
    assert_clean(disk)
    return report


def test_an_empty_disk_has_its_full_size_and_takes_hardly_any_room(disk: Path) -> None:
    report = seed(None, disk, WORKSPACE_DISK_BYTES)

    assert report == SeedReport(TreeMode.EMPTY, None)
    assert disk.stat().st_size == WORKSPACE_DISK_BYTES
    assert disk.stat().st_blocks * 512 < 1024**2
    assert disk.stat().st_mode & 0o777 == 0o600
    root = inode(disk, "/")
    assert (root.mode, root.user, root.group, root.links) == (0o755, 0, 0, 2)


def test_an_empty_workspace_holds_nothing_so_that_git_can_clone_into_it(disk: Path, tmp_path: Path) -> None:
    seed(None, disk)

    assert described(unpacked(disk, tmp_path / "out")) == {}


def test_everything_in_the_directory_is_in_the_disk(tree: Path, disk: Path, tmp_path: Path) -> None:
    (tree / "src/deep/er").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "empty file").touch()
    (tree / "src/main.py").write_text("print()\n")
    (tree / "src/run").write_text("#!/bin/sh\n")
    (tree / "src/run").chmod(0o755)
    (tree / "src/deep/er/secret").write_bytes(b"\0" * 5000)
    (tree / "src/deep/er/secret").chmod(0o600)
    (tree / "src/deep").chmod(0o700)

    report = seed(tree, disk)

    assert described(unpacked(disk, tmp_path / "out")) == described(tree)
    assert report.mode is TreeMode.DIRECTORY
    assert report.seed_path == str(tree)
    assert (report.entry_count, report.bytes_written) == (8, 8 + 10 + 5000)
    assert (report.skipped_count, report.changed_count) == (0, 0)


def test_odd_names_are_kept_byte_by_byte(tree: Path, disk: Path, tmp_path: Path) -> None:
    names = [
        b"with space",
        b"line\nbreak",
        b"-rf",
        b"caf\xc3\xa9",
        b"latin\xe9",
        b"\x1b]0;title\x07",
        b"$(id);`id`",
        b"x" * 255,
    ]
    for name in names:
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:
            file.write(name)

    seed(tree, disk)

    found = described(unpacked(disk, tmp_path / "out"))
    assert found == described(tree)
    assert sorted(found) == sorted(names)


def test_symbolic_links_are_kept_as_they_are_and_never_followed(tree: Path, disk: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not to be read")
    targets = ["../outside", "/etc/passwd", "missing", "y" * 59, "y" * 60, "y" * 4000, "."]
    for number, target in enumerate(targets):
        (tree / f"link{number}").symlink_to(target)

    seed(tree, disk)

    found = described(unpacked(disk, tmp_path / "out"))
    assert [found[f"link{number}".encode()][2].decode() for number in range(len(targets))] == targets


def test_hard_links_are_one_file_with_several_names(tree: Path, disk: Path) -> None:
    (tree / "a").write_text("same")
    (tree / "below").mkdir()
    os.link(tree / "a", tree / "below/b")
    os.link(tree / "a", tree / "c")

    report = seed(tree, disk)

    first, second, third = (inode(disk, name) for name in ("/a", "/below/b", "/c"))
    assert first == second == third
    assert first.links == 3
    assert (report.entry_count, report.bytes_written) == (4, 4)


def test_a_name_outside_the_tree_does_not_count_as_a_name_inside(tree: Path, disk: Path, tmp_path: Path) -> None:
    (tree / "a").write_text("same")
    os.link(tree / "a", tmp_path / "outside")

    seed(tree, disk)

    assert inode(disk, "/a").links == 1


@needs_root
def test_foreign_owners_become_root(tree: Path, disk: Path) -> None:
    (tree / "file").touch()
    (tree / "directory").mkdir()
    (tree / "link").symlink_to("file")
    for name in ("file", "directory", "link"):
        os.chown(tree / name, 1234, 70_000, follow_symlinks=False)

    seed(tree, disk)

    found = [inode(disk, name) for name in ("/", "/file", "/directory", "/link")]
    assert {(each.user, each.group) for each in found} == {(0, 0)}


def test_set_id_and_sticky_bits_are_dropped(tree: Path, disk: Path) -> None:
    (tree / "program").touch()
    (tree / "shared").mkdir()
    (tree / "program").chmod(0o6755)
    (tree / "shared").chmod(0o3777)

    seed(tree, disk)

    program, shared = inode(disk, "/program"), inode(disk, "/shared")
    assert (program.user, program.group, program.mode) == (0, 0, 0o755)
    assert (shared.user, shared.group, shared.mode) == (0, 0, 0o777)


@pytest.mark.parametrize(
    "mtime_ns", [0, 1_600_000_000_123_456_789, 4_000_000_000_000_000_001, 9_000_000_000_000_000_000]
)
def test_times_are_kept_to_the_nanosecond_and_beyond_2038(tree: Path, disk: Path, mtime_ns: int) -> None:
    (tree / "file").touch()
    (tree / "directory").mkdir()
    for name in ("file", "directory"):
        os.utime(tree / name, ns=(mtime_ns, mtime_ns))

    seed(tree, disk)

    assert {inode(disk, name).mtime_ns for name in ("/file", "/directory")} == {mtime_ns}


def test_holes_stay_holes(tree: Path, disk: Path, tmp_path: Path) -> None:
    size = 3 * 1024**3
    with open(tree / "sparse", "wb") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"begin", 0)
        os.pwrite(file.fileno(), b"middle", 2 * 1024**3 + 5)
    with open(tree / "hollow", "wb") as file:
        file.truncate(1024**3)

    report = seed(tree, disk, WORKSPACE_DISK_BYTES)

    sparse, hollow = inode(disk, "/sparse"), inode(disk, "/hollow")
    assert (sparse.size, sparse.sectors) == (size, 2 * 8)
    assert (hollow.size, hollow.sectors) == (1024**3, 0)
    assert disk.stat().st_blocks * 512 < 1024**2
    assert report.bytes_written < 16 * 1024


def test_a_file_that_is_all_hole_may_be_larger_than_the_disk(tree: Path, disk: Path) -> None:
    with open(tree / "hollow", "wb") as file:
        file.truncate(15 * 1024**4)
        os.pwrite(file.fileno(), b"end", 15 * 1024**4 - 3)

    seed(tree, disk)

    assert (inode(disk, "/hollow").size, inode(disk, "/hollow").sectors) == (15 * 1024**4, 8)


def test_a_file_larger_than_ext4_knows_is_refused_by_name(disk: Path) -> None:
    entry = Entry(b"too/large", Kind.FILE, 0o644, 0, 2**44, segments=())

    with pytest.raises(PyroError, match="too/large is larger than ext4 lets a file be") as caught:
        seed_disk(Listed([directory(b"too"), entry]), disk, DISK_BYTES, Silent())

    assert caught.value.code is ErrorCode.INVALID


def test_a_sparse_file_has_its_content_where_it_was(tree: Path, disk: Path, tmp_path: Path) -> None:
    with open(tree / "sparse", "wb") as file:
        for offset in (100, 70_000, 1_000_000, 9_000_000):
            os.pwrite(file.fileno(), f"at {offset}".encode(), offset)
        file.truncate(9_500_001)

    seed(tree, disk)

    assert described(unpacked(disk, tmp_path / "out")) == described(tree)


def test_a_file_with_thousands_of_pieces_is_whole(tree: Path, disk: Path, tmp_path: Path) -> None:
    # More extents than fit into four blocks of them: the inode leads to a block that leads to five.
    with open(tree / "comb", "wb") as file:
        for number in range(1500):
            os.pwrite(file.fileno(), number.to_bytes(2, "big"), number * 12288)

    seed(tree, disk)

    assert described(unpacked(disk, tmp_path / "out")) == described(tree)
    assert inode(disk, "/comb").sectors == (1500 + 5 + 1) * 8


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 524_287, 524_288, 4_194_304, 4_194_305, 9_000_001])
def test_files_of_every_size_are_whole(tree: Path, disk: Path, tmp_path: Path, size: int) -> None:
    # Around the sizes at which content takes another way: whole, in pieces, within the kernel.
    (tree / "a").write_bytes(b"a" * 10)
    (tree / "b").write_bytes(os.urandom(size))
    (tree / "c").write_bytes(b"c" * 10)

    seed(tree, disk)

    assert described(unpacked(disk, tmp_path / "out")) == described(tree)


def test_a_tree_as_deep_as_may_be_is_kept_and_a_deeper_one_refused(tree: Path, disk: Path, tmp_path: Path) -> None:
    deepest = tree.joinpath(*["d"] * 200)
    deepest.mkdir(parents=True)
    (deepest / "file").write_text("deep")
    seed(tree, disk)
    assert described(unpacked(disk, tmp_path / "out")) == described(tree)

    (deepest / "d").mkdir()
    disk.unlink()
    with pytest.raises(PyroError, match="more than 200 levels deep") as caught:
        seed_disk(tree, disk, DISK_BYTES, Silent())
    assert caught.value.code is ErrorCode.INVALID
    assert not disk.exists()


def test_sockets_and_fifos_are_left_out_with_a_word(tree: Path, disk: Path, tmp_path: Path) -> None:
    (tree / "kept").touch()
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))

    report = seed(tree, disk)

    assert sorted(report.skipped) == [
        Note("fifo", "a fifo"),
        Note("socket", "a socket"),
    ]
    assert report.skipped_count == 2
    assert list(described(unpacked(disk, tmp_path / "out"))) == [b"kept"]


@needs_root
def test_devices_are_left_out_with_a_word(tree: Path, disk: Path) -> None:
    os.mknod(tree / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(tree / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 0))

    report = seed(tree, disk)

    assert sorted(report.skipped) == [Note("disk", "a block device"), Note("null", "a character device")]
    assert report.entry_count == 0


def test_the_report_is_bounded_and_counts_on(tree: Path, disk: Path) -> None:
    for number in range(150):
        os.mkfifo(tree / f"fifo {number}")

    report = seed(tree, disk)

    assert len(report.skipped) == 100
    assert report.skipped_count == 150


def test_what_cannot_be_read_is_named_together(tree: Path, tmp_path: Path) -> None:
    # Root reads everything but for these two capabilities.
    for name in ("open", "closed", "line\nbreak"):
        (tree / name).write_text(name)
        (tree / name).chmod(0o000 if name != "open" else 0o644)
    (tree / "shut").mkdir(mode=0o000)
    code = f"""
import stat
import sys
from pathlib import Path
from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.seed import seed_disk
try:
    seed_disk(Path({str(tree)!r}), Path({str(tmp_path / "disk.img")!r}), {DISK_BYTES}, Silent())
except PyroError as error:
    print(error.code.value, error.message, error.details["count"])
"""
    under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = process.run([*under, sys.executable, "-c", code], timeout_s=30, check=False)

    assert done.text == (
        f"permission could not read {tree}/closed, {tree}/line\\x0abreak, {tree}/shut: Permission denied 3"
    ), done.stderr
    assert not (tmp_path / "disk.img").exists()


def test_a_source_that_is_not_there_or_of_no_use_is_refused_by_name(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    os.mkfifo(tmp_path / "pipe.tar")
    for name, code in (
        ("missing", ErrorCode.NOT_FOUND),
        ("notes.txt", ErrorCode.INVALID),
        ("pipe.tar", ErrorCode.INVALID),
    ):
        with pytest.raises(PyroError) as caught:
            seed_disk(tmp_path / name, disk, DISK_BYTES, Silent())
        assert caught.value.code is code
        assert str(tmp_path / name) in caught.value.message
        assert ".tgz" in caught.value.hint
    assert not disk.exists()


def test_a_source_may_be_named_by_a_link(tree: Path, disk: Path, tmp_path: Path) -> None:
    (tree / "file").touch()
    (tmp_path / "link").symlink_to(tree)

    assert seed(tmp_path / "link", disk).entry_count == 1


def test_a_disk_that_is_there_is_never_overwritten(tree: Path, disk: Path) -> None:
    disk.write_text("precious")

    with pytest.raises(PyroError) as caught:
        seed_disk(tree, disk, DISK_BYTES, Silent())

    assert caught.value.code is ErrorCode.CONFLICT
    assert disk.read_text() == "precious"


def test_the_products_own_files_are_left_out_of_a_tree_that_holds_them(tree: Path, tmp_path: Path) -> None:
    (tree / "state").mkdir()
    (tree / "cache").mkdir()
    (tree / "cache/big").touch()
    (tree / "file").touch()

    report = seed_disk(tree, tree / "state/disk.img", DISK_BYTES, Silent(), avoid=(tree / "cache", tree / "missing"))

    assert report.skipped == (Note("cache", OWN_FILES), Note("state", OWN_FILES))
    assert list(described(unpacked(tree / "state/disk.img", tmp_path / "out"))) == [b"file"]


def test_a_tree_that_does_not_fit_leaves_no_disk(tree: Path, disk: Path) -> None:
    (tree / "big").write_bytes(os.urandom(80 * 1024 * 1024))

    with pytest.raises(PyroError, match="does not fit into the workspace's disk") as caught:
        seed_disk(tree, disk, DISK_BYTES, Silent())

    assert caught.value.code is ErrorCode.NO_SPACE
    assert not disk.exists()


def test_more_files_than_the_disk_has_inodes_are_refused(tree: Path, disk: Path) -> None:
    for number in range(2100):
        (tree / str(number)).touch()

    with pytest.raises(PyroError, match="more than the 2048 files") as caught:
        seed_disk(tree, disk, 32 * 1024**2, Silent())

    assert caught.value.code is ErrorCode.NO_SPACE
    assert not disk.exists()


def test_a_tree_beyond_the_bounds_is_refused(tree: Path, disk: Path) -> None:
    for number in range(11):
        (tree / str(number)).write_text("12345")

    for bounds, why in ((Bounds(max_entries=10), "more than 10 entries"), (Bounds(max_bytes=50), "with 9 it is more")):
        with pytest.raises(PyroError, match=why) as caught:
            seed_disk(DirectorySource(tree, bounds=bounds), disk, DISK_BYTES, Silent())
        assert caught.value.code is ErrorCode.INVALID
        assert not disk.exists()


def test_the_hooks_of_the_host_in_the_tree_are_reported(tree: Path, disk: Path) -> None:
    (tree / ".git/hooks").mkdir(parents=True)
    (tree / ".git/config").write_text("[core]\n\tbare = false\n")
    (tree / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    (tree / ".git/hooks/pre-push.sample").write_text("#!/bin/sh\n")
    (tree / ".envrc").write_text("export A=1\n")
    (tree / "Makefile").write_text("all:\n")

    report = seed(tree, disk)

    assert [hook.path for hook in report.host_hooks] == [".envrc", ".git/hooks/pre-commit"]
