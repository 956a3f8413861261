"""The smallest guest that proves that guests run: a kernel, and one program that reports and reboots.

Its initramfs is made here byte by byte, so that only the kernel comes from the boot source.
"""

from __future__ import annotations

import struct

#: The console shows this once user space has run.
SIGN_OF_LIFE = "pyro-probe: user space runs"

_LOAD_ADDRESS = 0x400000
_ELF_HEADER_BYTES = 64
_PROGRAM_HEADER_BYTES = 56
_CODE_OFFSET = _ELF_HEADER_BYTES + _PROGRAM_HEADER_BYTES


def initramfs() -> bytes:
    """Return a cpio archive (format newc) with `/init` alone. The kernel brings its own `/dev/console`."""
    archive = _cpio_entry("init", _init(), mode=0o100755) + _cpio_entry("TRAILER!!!", b"", mode=0)
    return archive + bytes(-len(archive) % 512)


def _init() -> bytes:
    """Return a static x86-64 program: write the sign of life to the console, then reboot."""
    text = f"{SIGN_OF_LIFE}\n".encode()
    code = bytes.fromhex(
        "b801000000"  # mov eax, 1 (write)
        "bf01000000"  # mov edi, 1
        "488d3522000000"  # lea rsi, [rip + 34]: the text, which follows the code
        f"ba{len(text):02x}000000"  # mov edx, length
        "0f05"  # syscall
        "b8a9000000"  # mov eax, 169 (reboot), with its two magic numbers and RB_AUTOBOOT
        "bfaddee1fe"  # mov edi, 0xfee1dead
        "be69191228"  # mov esi, 0x28121969
        "ba67452301"  # mov edx, 0x01234567
        "4531d2"  # xor r10d, r10d
        "0f05"  # syscall
        "ebfe"  # jmp to itself: a reboot takes a moment
    )
    file_bytes = _CODE_OFFSET + len(code) + len(text)
    # Elf64_Ehdr and Elf64_Phdr, elf(5): an executable of one segment, readable and executable.
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        2,
        62,
        1,
        _LOAD_ADDRESS + _CODE_OFFSET,
        _ELF_HEADER_BYTES,
        0,
        0,
        _ELF_HEADER_BYTES,
        _PROGRAM_HEADER_BYTES,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, file_bytes, file_bytes, 0x1000)
    return header + segment + code + text


def _cpio_entry(name: str, data: bytes, *, mode: int) -> bytes:
    encoded = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)
