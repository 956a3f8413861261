"""Restrict the device nodes that the workload can open to harmless ones, whatever nodes it creates or mounts.

With access to lanes, disks, memory or the console, the workload could impersonate the agent, or write to its disks
underneath their file systems.

The kernel calls the program with `struct bpf_cgroup_dev_ctx` (linux/bpf.h) and allows the access if it returns 1.
The instruction format is described in the kernel's Documentation/bpf/instruction-set.rst.
"""

from __future__ import annotations

import ctypes
import os
import struct

from pyro_mcp.guest import syscalls

_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6

# Opcodes: class, operation and source in one byte.
_LOAD_WORD = 0x61  # LDX | MEM | W
_AND = 0x57  # ALU64 | AND | K
_SHIFT_RIGHT = 0x77  # ALU64 | RSH | K
_MOVE = 0xB7  # ALU64 | MOV | K
_MOVE_REGISTER = 0xBF
_JUMP_EQUAL = 0x15
_JUMP_NOT_EQUAL = 0x55
_JUMP_LESS = 0xA5
_JUMP_GREATER = 0x25
_EXIT = 0x95

_MKNOD = 1
_CHARACTER = 2
#: Character devices by major number: null zero full random urandom; tty ptmx; tun fuse.
ALLOWED: dict[int, tuple[int, ...]] = {1: (3, 5, 7, 8, 9), 5: (0, 2), 10: (200, 229)}
#: The majors of pseudoterminals, all inclusive: any minor is allowed.
ALLOWED_MAJORS = (136, 143)


class _LoadAttributes(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("instruction_count", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buffer", ctypes.c_uint64),
        ("kernel_version", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


class _AttachAttributes(ctypes.Structure):
    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("program_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


def confine_devices(cgroup: str) -> None:
    """Allow the processes of `cgroup` and of its descendants to open only harmless devices."""
    code = program()
    text = ctypes.create_string_buffer(code, len(code))
    license_name = ctypes.create_string_buffer(b"GPL")
    load = _LoadAttributes(
        kind=_PROG_TYPE_CGROUP_DEVICE,
        instruction_count=len(code) // 8,
        instructions=ctypes.addressof(text),
        license=ctypes.addressof(license_name),
    )
    program_fd = syscalls.bpf(_PROG_LOAD, load)
    try:
        cgroup_fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach = _AttachAttributes(cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, 0)
            syscalls.bpf(_PROG_ATTACH, attach)
        finally:
            os.close(cgroup_fd)
    finally:
        os.close(program_fd)


def program() -> bytes:
    """Return the program. Registers: 1 context, 2 device type, 3 major, 4 minor, 5 access; 0 return value."""
    allow = [_instruction(_MOVE, 0, value=1), _instruction(_EXIT)]
    deny = [_instruction(_MOVE, 0, value=0), _instruction(_EXIT)]
    code = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_LOAD_WORD, 3, 1, 4),
        _instruction(_LOAD_WORD, 4, 1, 8),
        _instruction(_MOVE_REGISTER, 5, 2),
        _instruction(_SHIFT_RIGHT, 5, value=16),
        _instruction(_AND, 2, value=0xFFFF),
        # Creating a node is harmless: opening it is checked again.
        _instruction(_JUMP_NOT_EQUAL, 5, offset=len(allow), value=_MKNOD),
        *allow,
        _instruction(_JUMP_EQUAL, 2, offset=len(deny), value=_CHARACTER),
        *deny,
        _instruction(_JUMP_LESS, 3, offset=3, value=ALLOWED_MAJORS[0]),
        _instruction(_JUMP_GREATER, 3, offset=2, value=ALLOWED_MAJORS[1]),
        *allow,
    ]
    for major, minors in ALLOWED.items():
        # Jump over the remaining tests and `deny`, to `allow`.
        tests = [
            _instruction(_JUMP_EQUAL, 4, offset=left + len(deny), value=minor)
            for left, minor in zip(range(len(minors) - 1, -1, -1), minors, strict=True)
        ]
        code.append(_instruction(_JUMP_NOT_EQUAL, 3, offset=len(tests) + len(deny) + len(allow), value=major))
        code += [*tests, *deny, *allow]
    return b"".join([*code, *deny])


def _instruction(opcode: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | target, offset, value)
