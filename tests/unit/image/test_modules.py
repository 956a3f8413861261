"""Kernel modules are found with what they need, in an order in which they load."""

from __future__ import annotations

import gzip
import lzma
import struct
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.modules import order_file, select_modules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIGNATURE = b"signature" + bytes(8) + struct.pack(">I", 9) + b"~Module signature appended~\n"


def make_module(*depends: str) -> bytes:
    """Make an ELF file with the sections that count: the names of the sections, and .modinfo."""
    info = b"license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"
    names = b"\0.shstrtab\0.modinfo\0"
    header_size, entry_size = 64, 64
    names_at = header_size
    info_at = names_at + len(names)
    table_at = info_at + len(info)
    header = bytearray(header_size)
    header[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<Q", header, 0x28, table_at)
    struct.pack_into("<HHH", header, 0x3A, entry_size, 3, 1)

    def section(name_at: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQ", name_at, 1, 0, 0, offset, size).ljust(entry_size, b"\0")

    table = section(0, 0, 0) + section(1, names_at, len(names)) + section(11, info_at, len(info))
    return bytes(header) + names + info + table


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "kernel/drivers").mkdir(parents=True)
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/lib/crc-16.ko\n")
    return tmp_path


def put(tree: Path, file_name: str, data: bytes) -> None:
    (tree / "kernel/drivers" / file_name).write_bytes(data)


def test_a_module_comes_after_all_that_it_needs(tree: Path) -> None:
    put(tree, "net.ko", make_module("virtio", "failover"))
    put(tree, "virtio.ko", make_module("ring"))
    put(tree, "ring.ko", make_module())
    put(tree, "failover.ko", make_module())

    modules = select_modules(tree, ["net", "ring"])

    assert [module.name for module in modules] == ["ring", "virtio", "failover", "net"]
    assert order_file(modules) == b"ring:\nvirtio: ring\nfailover:\nnet: virtio failover\n"


def test_what_is_built_into_the_kernel_is_left_out(tree: Path) -> None:
    put(tree, "net.ko", make_module("crc_16"))

    modules = select_modules(tree, ["ext4", "net"])

    assert [(module.name, module.depends) for module in modules] == [("net", ())]


def test_hyphens_and_underscores_name_the_same_module(tree: Path) -> None:
    put(tree, "virtio-rng.ko", make_module())

    assert [module.name for module in select_modules(tree, ["virtio_rng"])] == ["virtio_rng"]
    assert [module.name for module in select_modules(tree, ["virtio-rng"])] == ["virtio_rng"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".ko", bytes), (".ko.xz", lzma.compress), (".ko.gz", gzip.compress)],
    ids=["plain", "xz", "gz"],
)
def test_a_module_comes_out_uncompressed_and_without_its_signature(
    tree: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    put(tree, f"net{suffix}", pack(make_module() + SIGNATURE))

    (module,) = select_modules(tree, ["net"])

    assert module.data == make_module()


def test_a_module_that_is_not_there_is_named(tree: Path) -> None:
    with pytest.raises(PyroError, match="no module floppy") as caught:
        select_modules(tree, ["floppy"])

    assert caught.value.code is ErrorCode.NOT_FOUND


def test_modules_that_need_each_other_are_refused(tree: Path) -> None:
    put(tree, "a.ko", make_module("b"))
    put(tree, "b.ko", make_module("a"))

    with pytest.raises(PyroError, match="depends on itself"):
        select_modules(tree, ["a"])


@pytest.mark.parametrize("data", [b"", b"not an ELF file", make_module()[:70]], ids=["empty", "text", "cut short"])
def test_a_damaged_module_is_refused(tree: Path, data: bytes) -> None:
    put(tree, "net.ko", data)

    with pytest.raises(PyroError) as caught:
        select_modules(tree, ["net"])

    assert caught.value.code is ErrorCode.CORRUPT
