"""The kernel comes out of a bzImage whatever it is compressed with, and a damaged image is refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.image.kernel import extract_vmlinux

SETUP_SECTORS = 3
PAYLOAD_OFFSET = 64
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + b"kernel code " * 500


def with_program(*command: str) -> bytes:
    return process.run(command, input=ELF, timeout_s=30).stdout


def lzma_alone() -> bytes:
    return lzma.compress(ELF, format=lzma.FORMAT_ALONE)


def make_bzimage(payload: bytes, *, magic: bytes = b"HdrS", protocol: int = 0x020F, setup_sectors: int = 3) -> bytes:
    image = bytearray((SETUP_SECTORS + 1) * 512 + PAYLOAD_OFFSET)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = magic
    struct.pack_into("<H", image, 0x206, protocol)
    struct.pack_into("<II", image, 0x248, PAYLOAD_OFFSET, len(payload))
    return bytes(image) + payload + b"what follows the payload"


def size_of_elf() -> bytes:
    return struct.pack("<I", len(ELF))


COMPRESSED = {
    "gzip": lambda: gzip.compress(ELF),
    "xz": lambda: lzma.compress(ELF) + size_of_elf(),
    "lzma": lambda: lzma_alone() + size_of_elf(),
    "bzip2": lambda: bz2.compress(ELF) + size_of_elf(),
    "lz4": lambda: with_program("lz4", "-l", "-c") + size_of_elf(),
    "zstd": lambda: with_program("zstd", "-c") + size_of_elf(),
    "nothing": lambda: ELF,
}


@pytest.mark.parametrize("how", COMPRESSED)
def test_the_kernel_comes_out_of_every_compression(how: str) -> None:
    assert extract_vmlinux(make_bzimage(COMPRESSED[how]())) == ELF


def test_a_setup_size_of_zero_means_four_sectors() -> None:
    image = make_bzimage(gzip.compress(ELF), setup_sectors=0)
    # With one sector more of setup code the payload is one sector later.
    at = (SETUP_SECTORS + 1) * 512

    assert extract_vmlinux(image[:at] + bytes(512) + image[at:]) == ELF


@pytest.mark.parametrize("how", [how for how in COMPRESSED if how != "nothing"])
def test_a_payload_cut_short_is_refused(how: str) -> None:
    payload = COMPRESSED[how]()

    with pytest.raises(PyroError) as caught:
        extract_vmlinux(make_bzimage(payload[: len(payload) // 2]))

    assert caught.value.code is ErrorCode.CORRUPT


def test_an_image_that_ends_within_its_payload_is_refused() -> None:
    image = make_bzimage(gzip.compress(ELF))

    with pytest.raises(PyroError, match="cut short"):
        extract_vmlinux(image[:-60])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (b"", "not a bzImage"),
        (
            make_bzimage(
                b"x" * 10,
                magic=b"....",
            ),
            "not a bzImage",
        ),
        (make_bzimage(b"x" * 10, protocol=0x0204), "too old"),
        (make_bzimage(b"x" * 10), "unknown way"),
        (make_bzimage(gzip.compress(b"no kernel")), "does not hold an x86-64 ELF kernel"),
        (make_bzimage(gzip.compress(ELF.replace(b"\x3e", b"\xb7", 1))), "does not hold an x86-64 ELF kernel"),
    ],
    ids=["empty", "other magic", "old protocol", "unknown compression", "no ELF", "another machine"],
)
def test_what_is_no_kernel_is_refused_with_the_reason(image: bytes, says: str) -> None:
    with pytest.raises(PyroError, match=says):
        extract_vmlinux(image)


@given(st.binary(max_size=2000))
def test_garbage_is_refused_with_an_error_of_ours(garbage: bytes) -> None:
    for image in (garbage, make_bzimage(b"\x1f\x8b\x08" + garbage), make_bzimage(b"\xfd7zXZ\0" + garbage)):
        with pytest.raises(PyroError):
            extract_vmlinux(image)
