"""An archive is taken whole or not at all, and nothing of it is ever unpacked on the host."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.archive import ArchiveSource
from pyro_mcp.trees.entries import Bounds, Data, Entry, TreeMode
from pyro_mcp.trees.seed import seed_disk
from tests.support.thorough import examples
from tests.unit.trees.looking_in import DISK_BYTES, assert_clean, described, inode, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from tarfile import TarInfo

    from pyro_mcp.trees.report import SeedReport

MIB = 1024**2


def member(name: str, content: bytes | None = None, **fields: object) -> tuple[TarInfo, bytes]:
    """Describe a member: a file with that content, unless `type` says something else."""
    info = tarfile.TarInfo(name)
    info.size = len(content or b"")
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content or b""


def directory(name: str, mode: int = 0o755) -> tuple[TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> tuple[TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def packed(*members: tuple[TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002 - tarfile's word
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _opened(described: tuple[TarInfo, bytes]) -> tuple[TarInfo, io.BytesIO]:
    return described[0], io.BytesIO(described[1])


@pytest.fixture
def seeded(tmp_path: Path) -> Callable[..., SeedReport]:
    """Give a test a function that seeds `disk.img` from the bytes of an archive."""

    def seed(data: bytes, name: str = "seed.tar") -> SeedReport:
        (tmp_path / name).write_bytes(data)
        return seed_disk(tmp_path / name, tmp_path / "disk.img", DISK_BYTES, Silent())

    return seed


def contents(tmp_path: Path) -> dict[bytes, tuple[str, int, bytes]]:
    assert_clean(tmp_path / "disk.img")
    return described(unpacked(tmp_path / "disk.img", tmp_path / "out"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a test a directory with a bit of everything."""
    root = tmp_path / "tree"
    (root / "sub/empty").mkdir(parents=True)
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "sub/link").symlink_to("../run")
    (root / ("n" * 150)).write_text("a long name")
    (root / "sub/to a long one").symlink_to("../" + "n" * 150)
    os.link(root / "run", root / "sub/again")
    (root / "line\nbreak").write_text("x")
    with open(os.fsencode(root) + b"/latin\xe9", "wb") as file:
        file.write(b"y")
    with open(root / "sparse", "wb") as file:
        for offset in (5000, 300_000, 900_000, 1_500_000, 2_000_000, 4_000_000):
            os.pwrite(file.fileno(), b"data", offset)
        file.truncate(5_000_000)
    (root / "big").write_bytes(random.Random(1).randbytes(700_000))
    return root


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "TAR"])
def test_what_tar_writes_is_taken_in(tree: Path, tmp_path: Path, form: str, suffix: str) -> None:
    if form in {"ustar", "v7"}:
        # These have no room for them.
        for name in ("n" * 150, "sub/to a long one"):
            (tree / name).unlink()
    archive = tmp_path / f"seed.{suffix}"
    options = ["--sparse"] if form in {"gnu", "pax"} else []
    options += ["-z"] if suffix.endswith("gz") else []
    process.run(["tar", "-C", tree, f"--format={form}", *options, "-cf", archive, "."], timeout_s=30)

    report = seed_disk(archive, tmp_path / "disk.img", DISK_BYTES, Silent())

    assert contents(tmp_path) == described(tree)
    assert report.mode is TreeMode.TAR_ARCHIVE
    assert report.seed_path == str(archive)
    assert report.entry_count == len(described(tree))
    assert inode(tmp_path / "disk.img", "/run").links == 2
    if options:
        assert inode(tmp_path / "disk.img", "/sparse").sectors < 12 * 8 or "--sparse" not in options


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_taken_in(tree: Path, tmp_path: Path, form: int) -> None:
    with tarfile.open(tmp_path / "seed.tar.gz", "w:gz", format=form) as archive:
        archive.add(tree, arcname=".")

    seed_disk(tmp_path / "seed.tar.gz", tmp_path / "disk.img", DISK_BYTES, Silent())

    assert contents(tmp_path) == described(tree)


def test_what_git_archive_writes_is_taken_in(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "file").write_text("tracked")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "m"]):
        process.run([*git, *arguments], timeout_s=30)
    process.run([*git, "archive", "-o", str(tmp_path / "seed.tar"), "--prefix=p/", "HEAD"], timeout_s=30)

    seed_disk(tmp_path / "seed.tar", tmp_path / "disk.img", DISK_BYTES, Silent())

    assert contents(tmp_path)[b"p/file"][2] == b"tracked"


def test_directories_that_are_not_named_are_made_up(seeded: Callable[..., SeedReport], tmp_path: Path) -> None:
    report = seeded(packed(member("a/b/file", b"x"), directory("a", 0o700)))

    assert contents(tmp_path) == {
        b"a": ("directory", 0o700, b""),
        b"a/b": ("directory", 0o755, b""),
        b"a/b/file": ("file", 0o644, b"x"),
    }
    assert report.entry_count == 3


def test_a_name_may_be_written_in_several_ways(seeded: Callable[..., SeedReport], tmp_path: Path) -> None:
    seeded(packed(directory("./"), directory("./a//"), member("a/./b//c", b"x")))

    assert set(contents(tmp_path)) == {b"a", b"a/b", b"a/b/c"}


@pytest.mark.parametrize(
    ("members", "name", "why"),
    [
        ([member("/etc/passwd", b"x")], "/etc/passwd", "is absolute"),
        ([member("../up", b"x")], "../up", "leads upwards"),
        ([member("a/../../up", b"x")], "a/../../up", "leads upwards"),
        ([member("a/..", b"x")], "a/..", "leads upwards"),
        ([member("x" * 256, b"x")], "xxx", "longer than 255"),
        ([member("y/" * 201 + "z", b"x")], "y/y", "200 levels deep"),
        ([member("long/" * 800, b"x")], "long/", "longer than 3840"),
        ([symlink("l", "/etc")], "l", "leads out of the tree, to /etc"),
        ([symlink("l", "..")], "l", "leads out of the tree"),
        ([symlink("a/l", "../../x")], "a/l", "leads out of the tree"),
        ([symlink("a/b", ".."), symlink("c", "a/b/..")], "c", "leads out of the tree"),
        ([symlink("one", "two/.."), symlink("two", "three"), symlink("three", ".")], "one", "leads out of the tree"),
        ([symlink("l", "a/../../b")], "l", "leads out of the tree"),
        ([symlink("l", "")], "l", "an invalid target"),
        ([symlink("l", "t" * 4096)], "l", "an invalid target"),
        ([symlink("l", "d"), member("l/file", b"x")], "l/file", "its parent l is a symbolic link"),
        ([symlink("l", "d"), directory("l/d/e")], "l/d/e", "its parent l is a symbolic link"),
        ([member("f", b"x"), member("f/below", b"x")], "f/below", "its parent f is a file"),
        ([hard_link("h", "/etc/passwd")], "h", "its target is absolute"),
        ([hard_link("h", "../x")], "h", "its target leads upwards"),
        ([hard_link("h", "later"), member("later", b"x")], "h", "not an earlier file"),
        ([symlink("l", "f"), hard_link("h", "l")], "h", "not an earlier file"),
        ([directory("d"), hard_link("h", "d")], "h", "not an earlier file"),
        ([member("s", b"x", mode=0o4755)], "s", "setuid or setgid"),
        ([member("s", b"x", mode=0o2755)], "s", "setuid or setgid"),
        ([member("f", b"x"), symlink("f", "../x")], "f", "leads out of the tree"),
        ([directory("d"), member("d", b"x")], "d", "twice"),
        ([member("d/f", b"x"), symlink("d", "x")], "d", "twice"),
        ([member("f", b"x"), directory("f")], "f", "twice"),
        ([member(".", b"x")], ".", "twice"),
        ([symlink(".", "x")], ".", "twice"),
        ([member("bad\x1b[31m\n", b"x", mode=0o4755)], "bad\\x1b[31m\\x0a", "it is a setuid"),
    ],
)
def test_a_hostile_archive_is_refused_whole_and_names_the_member(
    seeded: Callable[..., SeedReport], tmp_path: Path, members: list[tuple[TarInfo, bytes]], name: str, why: str
) -> None:
    with pytest.raises(PyroError) as caught:
        seeded(packed(member("innocent", b"before"), *members, member("more", b"after")))

    assert caught.value.code is ErrorCode.INVALID
    assert str(tmp_path / "seed.tar") in caught.value.message
    assert name in caught.value.message
    assert why in caught.value.message
    assert os.listdir(tmp_path) == ["seed.tar"]


@pytest.mark.parametrize(
    "target", ["b", "./b", "a/../b", "missing/x", "a/b/../../c", "circle", "a//b/", "....", "..x/y"]
)
def test_links_that_stay_inside_are_kept(seeded: Callable[..., SeedReport], tmp_path: Path, target: str) -> None:
    seeded(packed(directory("a"), member("b", b"x"), symlink("circle", target)))

    assert contents(tmp_path)[b"circle"][2] == target.encode()


def test_devices_are_skipped_and_listed(seeded: Callable[..., SeedReport], tmp_path: Path) -> None:
    report = seeded(
        packed(
            member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("disk", type=tarfile.BLKTYPE),
            member("f", b"x"),
            member("fifo", type=tarfile.FIFOTYPE),
        )
    )
    assert [note.name for note in report.skipped] == ["null", "disk", "fifo"]
    assert report.skipped_count == 3
    assert set(contents(tmp_path)) == {b"f"}


def test_of_several_members_with_one_name_the_last_counts(seeded: Callable[..., SeedReport], tmp_path: Path) -> None:
    seeded(
        packed(
            directory("d"),
            member("f", b"first" * 1000),
            symlink("g", "../outside"),
            member("d/h", b"h"),
            directory("d"),
            member("./f", b"second"),
            member("g", b"plain"),
            member("f", b"last"),
        )
    )
    found = contents(tmp_path)
    assert found[b"f"][2] == b"last"
    assert found[b"g"][2] == b"plain"
    assert found[b"d/h"][2] == b"h"


def test_links_that_lead_through_each_other_for_ever_end_the_reading(seeded: Callable[..., SeedReport]) -> None:
    parts = "/".join(["x/.."] * 600)
    tangle = [symlink(f"l{number}", f"{parts}/l{number + 1}") for number in range(400)]
    with pytest.raises(PyroError, match="refer to each other too often") as caught:
        seeded(packed(*tangle))
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(max_entries=9), "more than 9 entries"),
        (Bounds(max_bytes=999), "it is more than"),
        (Bounds(max_name_bytes=30), "its names take more than 30 bytes"),
    ],
)
def test_an_archive_beyond_the_bounds_is_refused(tmp_path: Path, bounds: Bounds, why: str) -> None:
    (tmp_path / "seed.tar").write_bytes(packed(*(member(f"d/{number}", b"x" * 100) for number in range(10))))

    with pytest.raises(PyroError, match=why) as caught:
        ArchiveSource(tmp_path / "seed.tar", bounds=bounds).check()

    assert caught.value.code is ErrorCode.INVALID


def test_a_bomb_is_refused_long_before_it_has_gone_off(tmp_path: Path) -> None:
    # A gibibyte of zeroes in a megabyte.
    info = tarfile.TarInfo("zeroes")
    info.size = 1024**3
    zeroes = gzip.compress(bytes(16 * MIB))
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(info.tobuf()) + zeroes * 64)

    source = ArchiveSource(tmp_path / "bomb.tgz", bounds=Bounds(ratio_free_bytes=16 * MIB))
    taken: list[int] = []

    with pytest.raises(PyroError, match="compressed more than 250 to 1") as caught:
        taken.extend(len(item.data) for item in source.items() if isinstance(item, Data))

    assert caught.value.code is ErrorCode.INVALID
    assert sum(taken) < 300 * MIB


def test_a_sparse_file_of_a_huge_size_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(17 * 1024**3)
    process.run(["tar", "-C", tmp_path, "-S", "-cf", tmp_path / "seed.tar", "huge"], timeout_s=30)

    with pytest.raises(PyroError, match="with huge it is more than 16 GiB"):
        ArchiveSource(tmp_path / "seed.tar").check()


WHOLE = packed(directory("d"), member("d/file", b"x" * 3000), symlink("l", "d/file"), member("last", b"y"))
ENDS = len(WHOLE.rstrip(b"\0")) + -len(WHOLE.rstrip(b"\0")) % 512


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_that_was_cut_off_anywhere_is_refused(tmp_path: Path, *, compressed: bool) -> None:
    data = gzip.compress(WHOLE, mtime=0) if compressed else WHOLE[: ENDS + 1024]
    path = tmp_path / "cut.tar"
    # A tar archive ends with two blocks of zeroes; of a gzip file every byte is needed.
    enough = len(data) if compressed else ENDS + 1024
    for length in (*range(0, enough, 61), enough - 1):
        path.write_bytes(data[:length])
        with pytest.raises(PyroError) as caught:
            ArchiveSource(path).check()
        assert caught.value.code is ErrorCode.CORRUPT, length
        assert str(path) in caught.value.message
    path.write_bytes(data[:enough])
    ArchiveSource(path).check()


def test_a_flipped_bit_in_a_gzip_file_is_noticed(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(WHOLE, mtime=0))
    path = tmp_path / "flipped.tgz"
    for at in range(10, len(data)):
        data[at] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(PyroError) as caught:
            ArchiveSource(path).check()
        assert caught.value.code in {ErrorCode.CORRUPT, ErrorCode.INVALID, ErrorCode.UNSUPPORTED}
        data[at] ^= 0x10


def test_two_gzip_files_in_a_row_are_one_and_zeroes_after_them_nothing(tmp_path: Path) -> None:
    half = len(WHOLE) // 2
    (tmp_path / "two.tgz").write_bytes(gzip.compress(WHOLE[:half]) + gzip.compress(WHOLE[half:]) + bytes(5000))

    assert sum(isinstance(item, Entry) for item in ArchiveSource(tmp_path / "two.tgz").items()) == 4


@pytest.mark.parametrize("rest", [b"x", b"x" * 512, WHOLE])
def test_what_stands_after_the_end_is_not_ignored(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "more.tar").write_bytes(WHOLE + rest)

    with pytest.raises(PyroError, match="goes on after its end") as caught:
        ArchiveSource(tmp_path / "more.tar").check()

    assert caught.value.code is ErrorCode.CORRUPT


@pytest.mark.parametrize("kind", [b"M", b"V", b"D", b"N", b"Z"])
def test_a_member_of_a_kind_that_is_not_read_is_refused_by_name(seeded: Callable[..., SeedReport], kind: bytes) -> None:
    with pytest.raises(PyroError, match=r"a member of an unknown kind .*: 'odd'") as caught:
        seeded(packed(member("odd", b"", type=kind)))

    assert caught.value.code is ErrorCode.UNSUPPORTED


@pytest.mark.parametrize("version", ["0.0", "0.1"])
def test_a_sparse_file_in_an_outdated_form_is_refused_by_name(tree: Path, tmp_path: Path, version: str) -> None:
    options = ["--format=pax", "--sparse", f"--sparse-version={version}"]
    process.run(["tar", "-C", tree, *options, "-cf", tmp_path / "seed.tar", "sparse"], timeout_s=30)

    with pytest.raises(PyroError, match="sparse file in an outdated format") as caught:
        ArchiveSource(tmp_path / "seed.tar").check()

    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_one_header_for_all_members_may_hold_a_comment_but_no_name(tmp_path: Path) -> None:
    for headers, code in (
        ({"comment": "c"}, None),
        ({"path": "same"}, ErrorCode.CORRUPT),
        ({"size": "1"}, ErrorCode.CORRUPT),
    ):
        with tarfile.open(tmp_path / "seed.tar", "w", pax_headers=headers) as archive:
            archive.addfile(*_opened(member("f", b"x")))
        outcome: ErrorCode | None = None
        try:
            ArchiveSource(tmp_path / "seed.tar").check()
        except PyroError as error:
            outcome = error.code
        assert outcome is code


@pytest.mark.parametrize(
    "header",
    [b"12 path=ab\n", b"99 path=abc\n", b"0 path=abc\n", b"path=abc\n", b"-12 path=abc\n", b"9 novalue\n", b"6 =abc\n"],
)
def test_a_broken_extended_header_is_damage(tmp_path: Path, header: bytes) -> None:
    info, _ = member("f", type=tarfile.XHDTYPE)
    info.size = len(header)
    block = info.tobuf(tarfile.USTAR_FORMAT) + header.ljust(512, b"\0")
    (tmp_path / "seed.tar").write_bytes(block + packed(member("f", b"x")))

    with pytest.raises(PyroError) as caught:
        ArchiveSource(tmp_path / "seed.tar").check()

    assert caught.value.code is ErrorCode.CORRUPT


def test_an_extended_header_of_a_gigabyte_is_not_waited_for(tmp_path: Path) -> None:
    info, _ = member("f", type=tarfile.XHDTYPE)
    info.size = 1024**3
    (tmp_path / "seed.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(5000))

    with pytest.raises(PyroError, match="an extended header of a wrong size"):
        ArchiveSource(tmp_path / "seed.tar").check()


def test_set_id_bits_of_directories_are_dropped(seeded: Callable[..., SeedReport], tmp_path: Path) -> None:
    seeded(packed(directory("shared", 0o3775)))

    assert inode(tmp_path / "disk.img", "/shared").mode == 0o775


@pytest.mark.parametrize("data", [b"", b"x" * 2000, b"\x1f\x8b", b"\x1f\x8b" + bytes(600), b"BZh91AY" + bytes(600)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "none.tar").write_bytes(data)

    with pytest.raises(PyroError) as caught:
        ArchiveSource(tmp_path / "none.tar").check()

    assert caught.value.code is ErrorCode.CORRUPT


@settings(max_examples=examples(300))
@given(st.data())
def test_no_damage_makes_anything_but_an_archive_or_an_error(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[: ENDS + 1024])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        # What an attacker would do: the checksums are right again.
        for at in range(0, ENDS, 512):
            block = damaged[at : at + 512]
            block[148:156] = b" " * 8
            damaged[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "damaged.tar"
        path.write_bytes(damaged)
        items: list[Entry] = []
        outcome: ErrorCode | None = None
        try:
            items += [item for item in ArchiveSource(path).items() if isinstance(item, Entry)]
        except PyroError as error:
            outcome = error.code
        assert outcome in {None, ErrorCode.CORRUPT, ErrorCode.INVALID, ErrorCode.UNSUPPORTED}
        for item in items:
            assert not item.path.startswith(b"/")
            assert b".." not in item.path.split(b"/")
            assert item.mode & ~0o777 == 0
