"""The program that guards devices, run by an interpreter of our own on every device that matters."""

from __future__ import annotations

import struct

import pytest

from pyro_mcp.guest.system.devices import program

BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4
HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200), (10, 229)} | {
    (major, minor) for major in range(136, 144) for minor in (0, 1, 255)
}


def verdict(kind: int, access: int, major: int, minor: int) -> int:
    """Run the program as the kernel does, with the few instructions that it uses."""
    code = [struct.unpack_from("<BBhi", program(), at) for at in range(0, len(program()), 8)]
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers = [0] * 11
    at = 0
    for _ in range(len(code) + 1):
        opcode, both, offset, value = code[at]
        target, source = both & 15, both >> 4
        at += 1
        match opcode:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x57:
                registers[target] &= value
            case 0x77:
                registers[target] >>= value
            case 0x15 | 0x55 | 0xA5 | 0x25:
                left = registers[target]
                taken = {0x15: left == value, 0x55: left != value, 0xA5: left < value, 0x25: left > value}
                at += offset if taken[opcode] else 0
            case 0x95:
                return registers[0]
            case _:
                pytest.fail(f"instruction {opcode:#x}")
    pytest.fail("the program does not end")


@pytest.mark.parametrize("access", [READ, WRITE, READ | WRITE])
def test_only_harmless_devices_can_be_opened(access: int) -> None:
    majors = [*range(12), 135, *range(136, 146), 204, 229, 240, 251, 252, 253, 254, 259]
    for major in majors:
        for minor in [*range(16), 63, 64, 200, 228, 229, 230, 255]:
            assert verdict(CHARACTER, access, major, minor) == ((major, minor) in HARMLESS or 136 <= major <= 143)


@pytest.mark.parametrize("access", [READ, WRITE, READ | WRITE, MKNOD | READ])
def test_no_block_device_can_be_opened_whatever_its_number(access: int) -> None:
    for major in (1, 5, 7, 8, 10, 136, 253, 254):
        for minor in (0, 3, 5, 8, 9, 16, 200):
            assert verdict(BLOCK, access, major, minor) == 0


@pytest.mark.parametrize("kind", [BLOCK, CHARACTER])
def test_any_node_can_be_made(kind: int) -> None:
    assert verdict(kind, MKNOD, 254, 0) == 1


def test_it_always_ends_because_it_only_jumps_forward() -> None:
    for at in range(0, len(program()), 8):
        opcode, _, offset, _ = struct.unpack_from("<BBhi", program(), at)
        assert opcode & 7 != 5 or opcode == 0x95 or offset >= 0
