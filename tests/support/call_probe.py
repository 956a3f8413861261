"""A program that makes system calls and reports what each returned: made here, since no compiler need be installed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BASE = 0x400000
_WRITE, _EXIT_GROUP = 1, 231


SYSCALL, INT_80 = b"\x0f\x05", b"\xcd\x80"


def write_probe(path: Path, calls: Sequence[tuple[int, int, int]], gate: bytes = SYSCALL) -> None:
    """Write a static x86-64 ELF that makes the calls (number, first and second argument) and prints their results.

    It prints 64-bit numbers, one a call, in order. Through the gate INT_80 the calls are those of a 32-bit program.
    """
    code = b"\x48\x81\xec" + struct.pack("<i", 8 * len(calls))  # sub rsp, room
    code += b"\x48\x89\xe3"  # mov rbx, rsp
    for number, first, second in calls:
        code += b"\x48\xbf" + struct.pack("<Q", first) + b"\x48\xbe" + struct.pack("<Q", second)  # mov rdi; mov rsi
        code += b"\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x4d\x31\xc9"  # xor edx, r10, r8, r9
        code += b"\xb8" + struct.pack("<I", number) + gate  # mov eax; syscall
        code += b"\x48\x89\x03\x48\x83\xc3\x08"  # mov [rbx], rax; add rbx, 8
    code += b"\xbf\x01\x00\x00\x00\x48\x89\xe6\xba" + struct.pack("<I", 8 * len(calls))
    code += b"\xb8" + struct.pack("<I", _WRITE) + SYSCALL
    code += b"\x31\xff\xb8" + struct.pack("<I", _EXIT_GROUP) + SYSCALL
    size = 64 + 56 + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
