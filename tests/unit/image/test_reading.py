"""The files of an environment's image are read without a mount, and damage is an error, not a crash."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.image.filesystem import make_image
from pyro_mcp.image.namespace import Namespace
from pyro_mcp.image.reading import open_image
from tests.support.thorough import examples

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096
BIG = os.urandom(3_000_001)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an image with files, links and directories of every shape."""
    place = tmp_path_factory.mktemp("reading")
    tree = place / "tree"
    (tree / "etc/many").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    (tree / "usr/bin/tool").write_text("a tool")
    (tree / "etc/empty").touch()
    (tree / "etc/big").write_bytes(BIG)
    (tree / "etc/absolute").symlink_to("/usr/bin/tool")
    (tree / "etc/relative").symlink_to("../usr/../bin/tool")
    (tree / "etc/long").symlink_to("./" * 100 + "big")
    (tree / "etc/circle").symlink_to("circle")
    (tree / "etc/ümlaut").write_text("named")
    with open(tree / "etc/holes", "wb") as file:
        for number in range(40):
            file.seek(number * 16 * BLOCK)
            file.write(b"%04d" % number * 1024)
    for number in range(2000):
        (tree / f"etc/many/a file with a fairly long name {number:06}").write_text(str(number))
    made = place / "base.img"
    make_image(Namespace((), mapped=False), tree, made)
    return made


def test_files_are_read_as_they_were_written(image: Path) -> None:
    with open_image(image) as files:
        assert files.read("/etc/big", 10**9) == BIG
        assert files.read("/etc/big", 5000) == BIG[:5000]
        assert files.read("/etc/empty", 100) == b""
        assert files.read("/etc/ümlaut", 100) == b"named"
        assert files.read("/etc/many/a file with a fairly long name 001999", 100) == b"1999"


def test_a_file_in_many_pieces_is_read_with_its_holes(image: Path) -> None:
    with open_image(image) as files:
        data = files.read("/etc/holes", 10**9)

    assert len(data) == (39 * 16 + 1) * BLOCK
    for number in range(40):
        at = number * 16 * BLOCK
        assert data[at : at + BLOCK] == b"%04d" % number * 1024
        assert not any(data[at + BLOCK : at + 16 * BLOCK])


@pytest.mark.parametrize("path", ["/bin/tool", "/etc/absolute", "/etc/relative", "usr//bin/./tool", "/../usr/bin/tool"])
def test_links_are_followed_inside_the_image(image: Path, path: str) -> None:
    with open_image(image) as files:
        assert files.read(path, 100) == b"a tool"


def test_a_long_link_is_followed(image: Path) -> None:
    with open_image(image) as files:
        assert files.read("/etc/long", 3) == BIG[:3]


def test_directories_are_listed_in_order(image: Path) -> None:
    with open_image(image) as files:
        names = files.names("/etc/many")
        assert len(names) == 2000
        assert names == sorted(names)
        assert files.names("/bin") == ["tool"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc/none", FileNotFoundError), ("/etc/big/x", NotADirectoryError), ("/etc", OSError), ("/etc/circle", OSError)],
)
def test_what_is_not_there_is_an_error_of_the_file_system(image: Path, path: str, kind: type[OSError]) -> None:
    with open_image(image) as files, pytest.raises(kind):
        files.read(path, 100)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"x" * 5000):
        (tmp_path / "no.img").write_bytes(content)
        with pytest.raises(OSError, match=r"the image ends too early|the superblock"), open_image(tmp_path / "no.img"):
            pass


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.tuples(st.integers(1024, 600_000), st.binary(min_size=1, max_size=64)), min_size=1, max_size=20))
def test_a_damaged_image_is_an_error_and_nothing_worse(image: Path, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(image.read_bytes()[:1_000_000])
    for at, new in changes:
        data[at : at + len(new)] = new
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            with open_image(type(image)(file.name)) as files:
                for name in files.names("/etc")[:10]:
                    try:
                        files.read(f"/etc/{name}", 100_000)
                    except OSError:
                        continue
        except OSError:
            return
