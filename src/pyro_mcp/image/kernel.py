"""Extract the x86-64 ELF kernel that a microVM boots from Debian's bzImage.

See the kernel's Documentation/arch/x86/boot.rst for the header.
"""

from __future__ import annotations

import struct

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process

_HEADER_MAGIC = b"HdrS"
_MIN_PROTOCOL = 0x0208  # the first boot protocol with payload_offset and payload_length
_DEFAULT_SETUP_SECTORS = 4
_SECTOR_BYTES = 512
# The kernel's build appends the unpacked size (little endian) to the payload, except for gzip, which includes it.
_SIZE_BYTES = 4
_MAX_KERNEL_BYTES = 512 * 1024 * 1024
_UNPACK_TIMEOUT_S = 120.0

_GZIP = b"\x1f\x8b\x08"
_XZ = b"\xfd7zXZ\0"
_LZMA = b"\x5d\0\0"
_BZIP2 = b"BZh"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_ELF = b"\x7fELF\x02\x01"
_X86_64 = 62


def extract_vmlinux(image: bytes) -> bytes:
    """Return the uncompressed ELF kernel inside a bzImage.

    Raises:
        PyroError: CORRUPT if it is not a bzImage or can't be unpacked, UNSUPPORTED for an unknown compression,
            MISSING_PROGRAM if it needs a program (lz4, zstd) that is not installed.
    """
    kernel = _decompress(_payload(image))
    if not kernel.startswith(_ELF) or kernel[18:20] != struct.pack("<H", _X86_64):
        raise PyroError(ErrorCode.CORRUPT, "the kernel image does not hold an x86-64 ELF kernel")
    return kernel


def _payload(image: bytes) -> bytes:
    if len(image) < 0x250 or image[0x202:0x206] != _HEADER_MAGIC:
        raise PyroError(ErrorCode.CORRUPT, "the kernel image is not a bzImage")
    (protocol,) = struct.unpack_from("<H", image, 0x206)
    if protocol < _MIN_PROTOCOL:
        raise PyroError(ErrorCode.UNSUPPORTED, f"the kernel image has boot protocol {protocol:#x}, which is too old")
    setup_sectors = image[0x1F1] or _DEFAULT_SETUP_SECTORS
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * _SECTOR_BYTES + offset
    payload = image[start : start + length]
    if length <= _SIZE_BYTES or len(payload) != length:
        raise PyroError(ErrorCode.CORRUPT, "the kernel image is cut short")
    return payload


def _decompress(payload: bytes) -> bytes:
    if payload.startswith(_ELF):
        return payload
    if payload.startswith(_LZ4_LEGACY):
        return _run_program("lz4", payload[:-_SIZE_BYTES])
    if payload.startswith(_ZSTD):
        return _run_program("zstd", payload[:-_SIZE_BYTES])
    import bz2
    import lzma
    import zlib

    for magic, make in (
        (_GZIP, lambda: zlib.decompressobj(wbits=31)),
        (_XZ, lzma.LZMADecompressor),
        (_LZMA, lzma.LZMADecompressor),
        (_BZIP2, bz2.BZ2Decompressor),
    ):
        if payload.startswith(magic):
            decompressor = make()
            try:
                kernel = decompressor.decompress(payload, _MAX_KERNEL_BYTES)
            except (OSError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise _damaged(str(error)) from error
            if not decompressor.eof:
                raise _damaged("it ends too early")
            return kernel
    raise PyroError(
        ErrorCode.UNSUPPORTED,
        f"the kernel image is compressed in an unknown way (it begins with {payload[:6].hex()})",
    )


def _damaged(reason: str) -> PyroError:
    return PyroError(ErrorCode.CORRUPT, f"the kernel in the image does not unpack: {reason}")


def _run_program(name: str, data: bytes) -> bytes:
    done = process.run(
        [name, "-d", "-c"],
        input=data,
        timeout_s=_UNPACK_TIMEOUT_S,
        check=False,
        max_output_bytes=_MAX_KERNEL_BYTES,
    )
    if done.returncode != 0 or done.dropped_bytes:
        reason = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}"
        raise _damaged(f"{name}: {reason}")
    return done.stdout
