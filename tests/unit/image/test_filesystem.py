"""The image of a tree is a clean, small file system that holds exactly the tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.image.filesystem import TreeSize, make_image, measure_tree, tool_version
from pyro_mcp.image.namespace import Namespace

if TYPE_CHECKING:
    from pathlib import Path

DIRECT = Namespace((), mapped=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tree that all tests read and none changes."""
    root = tmp_path_factory.mktemp("filesystem") / "tree"
    (root / "etc/many").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "big").write_bytes(os.urandom(3_000_000))
    os.link(root / "big", root / "big again")
    (root / "short").symlink_to("big")
    (root / "long").symlink_to("x" * 200)
    (root / "line\nbreak").write_text("x")
    (root / "suid").write_text("x")
    (root / "suid").chmod(0o4755)
    for number in range(2000):
        (root / f"etc/many/a file with a fairly long name {number:06}").touch()
    os.utime(root / "etc/passwd", (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture(scope="module")
def made(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TreeSize]:
    """Make an image of the tree; return where it is, and the size of the tree as it was measured."""
    image = tmp_path_factory.mktemp("image") / "base.img"
    return image, make_image(DIRECT, tree, image)


def debugfs(image: Path, command: str) -> str:
    return process.run(["debugfs", "-R", command, image], timeout_s=30).text


def test_the_image_is_clean_and_holds_the_tree(made: tuple[Path, TreeSize]) -> None:
    image, size = made

    process.run(["e2fsck", "-fn", image], timeout_s=60)
    assert size.entries == 2009
    assert size.content_bytes == 3_000_000 + 26 + 1 + 1
    assert debugfs(image, "cat /etc/passwd") == "root:x:0:0::/root:/bin/sh"
    assert "Mode:  04755" in debugfs(image, "stat /suid")
    assert "mtime: 0x5f5e1000" in debugfs(image, "stat /etc/passwd")
    assert 'Fast link dest: "big"' in debugfs(image, "stat /short")
    assert len(debugfs(image, "ls -p /etc/many").splitlines()) == 2002


def test_files_with_two_names_are_one(made: tuple[Path, TreeSize]) -> None:
    image, _ = made

    inodes = {debugfs(image, f'stat "/{name}"').split()[1] for name in ("big", "big again")}
    assert len(inodes) == 1


def test_the_image_is_hardly_bigger_than_the_tree_and_needs_no_recovery(made: tuple[Path, TreeSize]) -> None:
    image, _ = made

    features = process.run(["dumpe2fs", "-h", image], timeout_s=30).text
    assert image.stat().st_size < 3_000_000 + 6 * 1024 * 1024
    (line,) = (line for line in features.splitlines() if line.startswith("Filesystem features:"))
    assert not {"has_journal", "orphan_file", "metadata_csum", "needs_recovery"} & set(line.split())
    assert "Reserved block count:     0" in features


def test_an_empty_tree_makes_an_image_too(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()

    make_image(DIRECT, tmp_path / "tree", tmp_path / "base.img")

    process.run(["e2fsck", "-fn", tmp_path / "base.img"], timeout_s=60)


def test_the_same_tree_makes_the_same_image(tree: Path, tmp_path: Path) -> None:
    # Reading a file for the first time after it was written moves its access time, which the image keeps.
    make_image(DIRECT, tree, tmp_path / "first.img")
    images = [tmp_path / "one.img", tmp_path / "two.img"]
    for image in images:
        make_image(DIRECT, tree, image)

    assert images[0].read_bytes() == images[1].read_bytes()


def test_a_place_that_can_not_be_written_is_an_error_that_quotes_mke2fs(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(PyroError, match="mke2fs ended with exit status") as caught:
        make_image(DIRECT, tree, tmp_path / "nowhere/base.img")

    assert caught.value.code is ErrorCode.BUILD_FAILED


def test_a_tree_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PyroError):
        measure_tree(DIRECT, tmp_path / "nothing")


def test_the_version_of_mke2fs_is_known() -> None:
    assert tool_version()[:1].isdigit()
