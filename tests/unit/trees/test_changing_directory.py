"""A directory that changes while it is read gives what was in it at some moment, and never anything from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.directory import GONE, RETOUCHED, DirectorySource
from pyro_mcp.trees.entries import Entry, Note
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.seed import seed_disk
from tests.support.python import python_that_says_ready
from tests.unit.trees.looking_in import DISK_BYTES, assert_clean, described, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

CANARY = b"this stood outside of the tree and must stay there"


class Meddled(DirectorySource):
    """A directory in which something happens at the moment when one entry was opened and not yet read."""

    def __init__(self, path: Path, moment: bytes, happens: Callable[[], object]) -> None:
        super().__init__(path)
        self._moment = moment
        self._happens = happens

    def items(self) -> Generator[Entry]:
        for item in super().items():
            if item.path == self._moment:
                self._happens()
            yield item


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_text("first")
    (root / "b").write_text("second")
    (root / "link").symlink_to("a")
    (root / "sub/file").write_text("below")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(CANARY)
    return root


def seeded(source: DirectorySource, tmp_path: Path) -> dict[bytes, tuple[str, int, bytes]]:
    disk = tmp_path / "disk.img"
    seed_disk(source, disk, DISK_BYTES, Silent())
    assert_clean(disk)
    return described(unpacked(disk, tmp_path / "out"))


@pytest.mark.parametrize("name", ["b", "link", "sub"])
def test_what_vanishes_is_left_out_with_a_word(tree: Path, tmp_path: Path, name: str) -> None:
    source = Meddled(tree, b"a", lambda: os.rename(tree / name, tmp_path / "gone"))

    found = seeded(source, tmp_path)

    assert source.notes.changed == (Note(name, GONE),)
    assert set(found) == {b"a", b"b", b"link", b"sub", b"sub/file"} - {
        each for each in (b"a", b"b", b"link", b"sub", b"sub/file") if each.startswith(name.encode())
    }


@pytest.mark.parametrize(("name", "target"), [("b", "outside/file"), ("sub", "outside")])
def test_what_becomes_a_link_is_not_followed(tree: Path, tmp_path: Path, name: str, target: str) -> None:
    def swap() -> None:
        os.rename(tree / name, tmp_path / "gone")
        (tree / name).symlink_to(tmp_path / target)

    source = Meddled(tree, b"a", swap)
    found = seeded(source, tmp_path)

    assert source.notes.changed == (Note(name, GONE),)
    assert name.encode() not in found
    assert CANARY not in (tmp_path / "disk.img").read_bytes()


def test_what_becomes_a_fifo_is_left_out_and_keeps_nobody_waiting(tree: Path, tmp_path: Path) -> None:
    def swap() -> None:
        os.unlink(tree / "b")
        os.mkfifo(tree / "b")

    source = Meddled(tree, b"a", swap)

    assert b"b" not in seeded(source, tmp_path)
    assert source.notes.changed == (Note("b", GONE),)


def test_a_link_that_becomes_a_file_is_left_out(tree: Path, tmp_path: Path) -> None:
    def swap() -> None:
        os.unlink(tree / "link")
        (tree / "link").write_text("a file now")

    source = Meddled(tree, b"a", swap)

    assert b"link" not in seeded(source, tmp_path)
    assert source.notes.changed == (Note("link", GONE),)


@pytest.mark.parametrize("size", [3000, 700_000])
@pytest.mark.parametrize("left", [0, 1, 2999])
def test_a_file_that_shrinks_has_what_was_left_of_it(tree: Path, tmp_path: Path, size: int, left: int) -> None:
    content = os.urandom(size)
    (tree / "a").write_bytes(content)
    source = Meddled(tree, b"a", lambda: os.truncate(tree / "a", left))

    found = seeded(source, tmp_path)

    assert found[b"a"][2] == content[:left]
    assert found[b"b"][2] == b"second"
    assert source.notes.changed == (Note("a", RETOUCHED),)


def test_a_file_that_grows_has_what_it_had(tree: Path, tmp_path: Path) -> None:
    def grow() -> None:
        with open(tree / "a", "ab") as file:
            file.write(b" and more")

    source = Meddled(tree, b"a", grow)

    assert seeded(source, tmp_path)[b"a"][2] == b"first"
    assert source.notes.changed == (Note("a", RETOUCHED),)


@pytest.mark.parametrize("size", [3000, 700_000])
def test_a_stream_keeps_its_form_when_a_file_shrinks(tree: Path, tmp_path: Path, size: int) -> None:
    (tree / "a").write_bytes(b"x" * size)
    source = Meddled(tree, b"a", lambda: os.truncate(tree / "a", 10))

    stream = stream_tree(source)
    archive = b"".join(stream)

    (tmp_path / "all.tar").write_bytes(archive)
    again = tmp_path / "again.img"
    seed_disk(tmp_path / "all.tar", again, DISK_BYTES, Silent())
    found = described(unpacked(again, tmp_path / "out"))
    assert found[b"a"][2].rstrip(b"\0") == b"x" * 10
    assert found[b"sub/file"][2] == b"below"
    assert stream.report.changed == (Note("a", RETOUCHED),)


SWAPPER = """
import os, sys
tree, outside = sys.argv[1:]
print("ready", flush=True)
while True:
    for name in ("sub", "file"):
        os.rename(f"{tree}/{name}", f"{tree}/../aside")
        os.symlink(f"{outside}/{name}", f"{tree}/{name}")
        os.unlink(f"{tree}/{name}")
        os.rename(f"{tree}/../aside", f"{tree}/{name}")
"""


def test_somebody_who_swaps_directories_and_links_gets_nothing_from_outside(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for root, content in ((tree, b"inside"), (outside, CANARY)):
        (root / "sub/deeper").mkdir(parents=True)
        for name in ("file", "sub/one", "sub/deeper/two"):
            (root / name).write_bytes(content)
    disturbed = 0
    with python_that_says_ready(SWAPPER, str(tree), str(outside)):
        for number in range(25):
            disk = tmp_path / f"{number}.img"
            report = seed_disk(tree, disk, DISK_BYTES, Silent())
            stream = stream_tree(tree)
            archive = b"".join(stream)
            disturbed += (report.entry_count, stream.report.entry_count) != (5, 5)
            assert CANARY not in archive
            assert CANARY not in disk.read_bytes()
            disk.unlink()
    # Otherwise nobody was in the way, and this showed nothing.
    assert disturbed > 0
