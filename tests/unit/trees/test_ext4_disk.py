"""What is laid into a disk is a file system that e2fsck has nothing to say about, whatever the tree."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.entries import Entry, Kind
from pyro_mcp.trees.ext4 import records
from pyro_mcp.trees.ext4.blank import Blank, make_blank
from pyro_mcp.trees.ext4.space import Space, free_runs, set_bits
from pyro_mcp.trees.seed import seed_disk
from tests.support.thorough import examples
from tests.unit.trees.listed import Listed, directory, file, lay_out, link, symlink
from tests.unit.trees.looking_in import DISK_BYTES, assert_clean, described, inode, unpacked

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 0x2F} & set(name) and name not in {b".", b".."})
CONTENTS = st.one_of(
    st.binary(max_size=100),
    st.integers(0, 5).map(lambda blocks: b"b" * 4096 * blocks),
    st.integers(1, 20_000).map(lambda size: b"c" * size),
)
TARGETS = st.binary(min_size=1, max_size=300).filter(lambda target: 0 not in target)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry | tuple[Entry, bytes]]:
    """Draw a tree: each entry goes into a directory that is there already."""
    items: list[Entry | tuple[Entry, bytes]] = []
    directories, files, taken = [b""], list[bytes](), {b""}
    for _ in range(draw(st.integers(0, 30))):
        parent = draw(st.sampled_from(directories))
        path = parent + b"/" * bool(parent) + draw(NAMES)
        if path in taken or len(path) > 1000:
            continue
        taken.add(path)
        match draw(st.sampled_from(Kind)):
            case Kind.DIRECTORY:
                items.append(directory(path, draw(st.integers(0, 0o777)) | 0o700))
                directories.append(path)
            case Kind.SYMLINK:
                items.append(symlink(path, draw(TARGETS)))
            case Kind.LINK if files:
                items.append(link(path, draw(st.sampled_from(files))))
            case _:
                items.append(file(path, draw(CONTENTS), draw(st.integers(0, 0o777)) | 0o400))
                files.append(path)
    return items


@settings(max_examples=examples(60))
@given(trees())
def test_any_tree_comes_back_as_it_was(items: list[Entry | tuple[Entry, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        disk, wanted = Path(place) / "disk.img", Path(place) / "wanted"
        seed_disk(Listed(items), disk, DISK_BYTES, Silent())
        assert_clean(disk)
        lay_out(wanted, items)

        assert described(unpacked(disk, Path(place) / "found")) == described(wanted)


def test_a_directory_of_thirty_thousand_files_has_an_index(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    names = [b"many/a name of some length %d" % number for number in range(30_000)]

    seed_disk(Listed([directory(b"many"), *map(file, names)]), disk, 1024**3, Silent())

    assert_clean(disk)
    many = inode(disk, "/many")
    assert many.flags & 0x1000
    assert many.size < 2 * 1024**2


def test_a_directory_of_long_names_has_an_index_of_two_levels(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    names = [b"%0255d" % number for number in range(9000)]

    seed_disk(Listed([*map(file, names)]), disk, 1024**3, Silent())

    assert_clean(disk)
    assert inode(disk, "/").size > 509 * 4096


@pytest.mark.parametrize(("of_the_first", "starts"), [(20, [0x2001, 0x4001]), (19, [0x4000, 0x4001])])
def test_a_leaf_that_goes_on_with_the_same_hash_says_so(
    monkeypatch: pytest.MonkeyPatch, of_the_first: int, starts: list[int]
) -> None:
    def two_hashes(name: bytes, *, unsigned: bool) -> int:
        return 0x2000 if int(name) < of_the_first else 0x4000

    monkeypatch.setattr(records, "name_hash", two_hashes)
    # Nineteen of these fit into a leaf.
    entries = [records.DirectoryEntry(b"%0200d" % number, 20, records.TYPE_FILE) for number in range(40)]

    root, *leaves = records.encode_directory(2, 2, entries, hashes_unsigned=False)

    assert len(leaves) == 3
    assert [int.from_bytes(root[at : at + 4], "little") for at in (40, 48)] == starts


@pytest.mark.parametrize("name", [b"a", b"hello", b"caf\xc3\xa9\xff", b"\x80" * 255])
@pytest.mark.parametrize("unsigned", [False, True])
def test_hashes_of_names_are_those_that_debugfs_computes(tmp_path: Path, name: bytes, *, unsigned: bool) -> None:
    seed_disk(None, tmp_path / "disk.img", DISK_BYTES, Silent())
    # In a file, as the bytes need not be text; 0 and 3 are the two kinds of the legacy hash.
    (tmp_path / "command").write_bytes(b'dx_hash -h %d "%b"\n' % (3 * unsigned, name))

    said = process.run(["debugfs", "-f", tmp_path / "command", tmp_path / "disk.img"], timeout_s=30).stdout

    assert b" is 0x%08x (" % records.name_hash(name, unsigned=unsigned) in said


def test_more_names_than_a_file_may_have_are_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    names = [b"%d" % number for number in range(65_000)]

    with pytest.raises(PyroError, match="first has more than 65000 hard links") as caught:
        seed_disk(Listed([file(b"first"), *(link(name, b"first") for name in names)]), disk, DISK_BYTES, Silent())

    assert caught.value.code is ErrorCode.INVALID
    assert not disk.exists()


@pytest.mark.parametrize(("subdirectories", "links"), [(0, 2), (64_997, 64_999), (64_998, 1), (400_000, 1)])
def test_a_directory_with_more_subdirectories_than_can_be_counted_says_so(subdirectories: int, links: int) -> None:
    # The feature dir_nlink: one means "too many".
    record = records.directory_inode(
        mode=0o755, blocks=1, subdirectories=subdirectories, mtime_ns=0, now_ns=0, body=bytes(60), block_count=1
    )
    assert int.from_bytes(record[records.LINK_COUNT_AT : records.LINK_COUNT_AT + 2], "little") == links


def test_a_file_larger_than_an_extent_goes_on_in_the_next(tmp_path: Path) -> None:
    # 128 MiB is the most that one describes.
    with open(tmp_path / "large", "wb") as large:
        for start in range(0, 140 * 1024**2, 1024**2):
            large.write(start.to_bytes(8, "little").ljust(1024**2, b"."))
    (tmp_path / "tree").mkdir()
    os.rename(tmp_path / "large", tmp_path / "tree/large")
    disk = tmp_path / "disk.img"

    seed_disk(tmp_path / "tree", disk, 512 * 1024**2, Silent())

    assert_clean(disk)
    assert described(unpacked(disk, tmp_path / "out")) == described(tmp_path / "tree")


def test_what_is_free_is_read_from_the_bitmaps_to_the_last_bit() -> None:
    blank = make_blank(DISK_BYTES)
    runs = free_runs(blank)

    assert sum(run.length for run in runs) == sum(group.free_blocks for group in blank.groups)
    used = {number for run in runs for number in range(run.start, run.start + run.length)} & set(blank.blocks)
    assert used == set()


def test_runs_join_over_the_borders_of_groups_and_break_at_what_is_used() -> None:
    blank = make_blank(1024**3)
    runs = free_runs(blank)

    assert any(run.length > blank.blocks_per_group for run in runs)
    assert len(runs) > 1
    assert all(before.start + before.length < after.start for before, after in pairwise(runs))


def test_space_is_given_out_once_and_ends() -> None:
    blank = make_blank(DISK_BYTES)
    space, given = Space(blank), list[int]()

    def take_all() -> None:
        while True:
            first, count = space.peek()
            given.extend(range(first, first + min(count, 1000)))
            space.take(min(count, 1000))

    with pytest.raises(PyroError, match="does not fit") as caught:
        take_all()
    assert caught.value.code is ErrorCode.NO_SPACE
    assert len(given) == len(set(given)) == sum(run.length for run in free_runs(blank))
    assert sum(count for _, count in space.taken_runs()) == len(given)


@given(st.integers(0, 200), st.integers(0, 200))
def test_bits_are_set_exactly(first: int, count: int) -> None:
    bitmap = bytearray(64)
    set_bits(bitmap, first, count)
    assert int.from_bytes(bitmap, "little") == ((1 << count) - 1) << first


@pytest.mark.parametrize("size_bytes", [0, 4096, 32 * 1024**2 - 4096, 64 * 1024**2 + 1])
def test_a_disk_of_an_impossible_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(PyroError, match=f"can't have {size_bytes} bytes"):
        make_blank(size_bytes)


def test_a_file_system_of_another_shape_is_refused() -> None:
    blocks = make_blank(DISK_BYTES).blocks
    blocks[0][1024 + 0x58] = 128
    with pytest.raises(PyroError, match="unexpected parameters"):
        Blank(blocks)
