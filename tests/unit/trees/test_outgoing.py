"""A tree goes to a guest as a tar archive that any tar of today reads the same way."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.protocol.tar_reader import Member, Piece, TarDecoder
from pyro_mcp.trees.entries import Entry, Kind, TreeMode
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.trees.outgoing import stream_tree
from tests.support.receiving import receive_tree
from tests.support.thorough import examples
from tests.unit.trees.listed import Listed, directory, file, symlink
from tests.unit.trees.looking_in import described
from tests.unit.trees.test_ext4_disk import trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub/empty").mkdir(parents=True)
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "sub/link").symlink_to("../run")
    (root / "sub/far").symlink_to("/" + "t" * 200)
    os.link(root / "run", root / "sub/again")
    (root / ("n" * 250)).write_text("a long name")
    (root / "line\nbreak").write_text("x")
    (root / "big").write_bytes(os.urandom(1_000_001))
    with open(root / "sparse", "wb") as out:
        for offset in (100, 5000, 900_000, 5_000_000):
            os.pwrite(out.fileno(), b"data", offset)
        out.truncate(6_000_000)
    with open(root / "hollow", "wb") as out:
        out.truncate(1_000_000)
    os.utime(root / "run", ns=(-5_500_000_000, -5_500_000_000))
    return root


def test_gnu_tar_unpacks_what_was_there(tree: Path, tmp_path: Path) -> None:
    stream = stream_tree(tree)
    (tmp_path / "out.tar").write_bytes(b"".join(stream))
    (tmp_path / "out").mkdir()

    process.run(["tar", "-C", tmp_path / "out", "-xf", tmp_path / "out.tar"], timeout_s=30)

    assert described(tmp_path / "out") == described(tree)
    assert (tmp_path / "out/sparse").stat().st_blocks == (tree / "sparse").stat().st_blocks
    assert (tmp_path / "out/run").stat().st_ino == (tmp_path / "out/sub/again").stat().st_ino
    assert (tmp_path / "out/run").stat().st_mtime_ns == -5_500_000_000
    report = stream.report
    assert (report.mode, report.seed_path) == (TreeMode.DIRECTORY, str(tree))
    assert report.entry_count == len(described(tree))


def test_python_lists_the_same_with_root_as_owner(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_bytes(b"".join(stream_tree(tree)))

    with tarfile.open(tmp_path / "out.tar") as archive:
        members = archive.getmembers()

    assert {os.fsencode(each.name) for each in members} == {*described(tree), b"."}
    assert {(each.uid, each.gid, each.uname) for each in members} == {(0, 0, "root")}


def test_an_archive_goes_through_as_it_came(tree: Path, tmp_path: Path) -> None:
    (tree / "sub/far").unlink()
    process.run(["tar", "-C", tree, "-Sczf", tmp_path / "in.tgz", "."], timeout_s=30)

    (tmp_path / "out.tar").write_bytes(b"".join(stream_tree(tmp_path / "in.tgz")))

    (tmp_path / "out").mkdir()
    process.run(["tar", "-C", tmp_path / "out", "-xf", tmp_path / "out.tar"], timeout_s=30)
    assert described(tmp_path / "out") == described(tree)


def test_of_a_hostile_archive_nothing_is_sent(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("good"))
        archive.addfile(tarfile.TarInfo("../bad"))

    with pytest.raises(PyroError, match=r"because of its member \.\./bad") as caught:
        stream_tree(tmp_path / "in.tar")

    assert caught.value.code is ErrorCode.INVALID


def test_the_pieces_are_neither_tiny_nor_huge(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(500):
        (tmp_path / f"tree/{number}").write_bytes(b"x" * 2000)
    (tmp_path / "tree/big").write_bytes(bytes(3_000_000))

    sizes = [len(piece) for piece in stream_tree(tmp_path / "tree")]

    assert max(sizes) <= 600_000
    assert min(sizes[:-1]) >= 250_000


def test_a_stream_that_is_not_read_to_its_end_leaves_nothing_open(tree: Path) -> None:
    # The check on descriptors that every test gets would tell.
    stream = stream_tree(tree)
    next(iter(stream))
    stream.close()


def test_sizes_beyond_eight_gibibytes_are_written_and_read() -> None:
    size = 9 * 1024**3
    entry = Entry(b"huge", file(b"huge")[0].kind, 0o644, 0, size)
    header = next(iter(stream_tree(Listed([entry]))))

    decoder = TarDecoder()
    (member,) = decoder.feed(header[:1536])

    assert isinstance(member, Member)
    assert (member.name, member.size) == (b"huge", size)


@settings(max_examples=examples(60))
@given(trees())
def test_any_tree_comes_back_through_the_stream(items: list[Entry | tuple[Entry, bytes]]) -> None:
    # Links may lead anywhere on the way in, but not on the way out.
    kept = [
        each
        for each in items
        if not isinstance(each, Entry)
        or each.kind is not Kind.SYMLINK
        or not (each.target.startswith(b"/") or b".." in each.target.split(b"/"))
    ]
    with tempfile.TemporaryDirectory() as place:
        source = Listed([directory(b""), *kept])
        report = receive_tree(stream_tree(source), Path(place) / "out", hooks=HookPolicy(include_all=True))
        found = described(Path(place) / "out")

    assert report.entry_count == len(found) == len(kept)
    for each in kept:
        if not isinstance(each, Entry):
            assert found[each[0].path][2] == each[1]
        elif each.kind is Kind.SYMLINK:
            assert found[each.path] == ("link", 0o777, each.target)


@pytest.mark.parametrize("step", [1, 7, 511, 512, 513, 10_000])
def test_it_does_not_matter_how_a_stream_is_cut(tree: Path, step: int) -> None:
    (tree / "big").write_bytes(b"big" * 1000)
    with open(tree / "sparse", "wb") as out:
        os.pwrite(out.fileno(), b"data", 100_000)
    stream = b"".join(stream_tree(tree))

    def decoded(step: int) -> list[Member | tuple[int, int]]:
        decoder = TarDecoder()
        found: list[Member | tuple[int, int]] = []
        for at in range(0, len(stream), step):
            for item in decoder.feed(stream[at : at + step]):
                if isinstance(item, Piece):
                    found += [(item.offset + number, byte) for number, byte in enumerate(item.data)]
                else:
                    found.append(item)
        decoder.finish()
        return found

    assert decoded(step) == decoded(len(stream))


def test_links_of_a_list_are_written_as_they_are() -> None:
    stream = b"".join(stream_tree(Listed([directory(b""), symlink(b"l", b"x" * 4000)])))
    decoder = TarDecoder()
    found = [item for item in decoder.feed(stream) if isinstance(item, Member)]
    assert [(item.name, len(item.target)) for item in found] == [(b"./", 0), (b"l", 4000)]
