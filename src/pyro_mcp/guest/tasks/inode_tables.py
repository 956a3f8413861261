"""Find the files of a disk that changed since it was copied, by comparing the inode tables of both disks.

A file whose inode is identical, byte for byte, is unchanged, so thousands of files need not be read. The result is None
if the disks have a layout that the product does not create, or two different layouts: each file must then be compared.

Reading the device of a mounted disk returns current data, since ext4 keeps its tables in the device's page cache.
Timestamps that it keeps elsewhere (`lazytime`) are included after syncfs(2).
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_SUPER_AT = 1024
_SUPER_BYTES = 1024
# struct ext4_super_block (the kernel's Documentation/filesystems/ext4/super.rst).
_MAGIC_AT, _MAGIC = 0x38, 0xEF53
_INODES, _BLOCKS, _LOG_BLOCK, _BLOCKS_PER_GROUP, _INODES_PER_GROUP = 0x00, 0x04, 0x18, 0x20, 0x28
_INODE_BYTES_AT, _INCOMPATIBLE, _UUID = 0x58, 0x60, 0x68
_META_BG, _64BIT = 0x10, 0x80
_BLOCK_BYTES = 4096
# struct ext4_group_desc: block bitmap, inode bitmap, inode table, free blocks, free inodes.
_DESCRIPTOR = struct.Struct("<IIIHH16x")
_CHUNK_BYTES = 256 * 1024


class _Shape(NamedTuple):
    uuid: bytes
    inodes: int
    blocks: int
    blocks_per_group: int
    inodes_per_group: int
    inode_bytes: int


def touched_inodes(new: int, old: int) -> frozenset[int] | None:
    """Return the numbers of the inodes in use on disk `old` that differ on disk `new`."""
    shape = _shape(old)
    if shape is None or shape != _shape(new):
        return None
    touched: set[int] = set()
    descriptors = zip(_descriptors(new, shape), _descriptors(old, shape), strict=True)
    for group, (new_group, old_group) in enumerate(descriptors):
        _, bitmap, table, _, free = old_group
        if new_group[1:3] != (bitmap, table):
            return None
        if free == shape.inodes_per_group:
            continue
        used = _highest_used(os.pread(old, shape.inodes_per_group // 8, bitmap * _BLOCK_BYTES))
        first = group * shape.inodes_per_group + 1
        start = table * _BLOCK_BYTES
        touched.update(first + slot for slot in _different(new, old, start, used, shape.inode_bytes))
    return frozenset(touched)


def _shape(fd: int) -> _Shape | None:
    data = os.pread(fd, _SUPER_BYTES, _SUPER_AT)
    if len(data) < _SUPER_BYTES or _u16(data, _MAGIC_AT) != _MAGIC or 1024 << _u32(data, _LOG_BLOCK) != _BLOCK_BYTES:
        return None
    if _u32(data, _INCOMPATIBLE) & (_META_BG | _64BIT):
        return None
    return _Shape(
        data[_UUID : _UUID + 16],
        _u32(data, _INODES),
        _u32(data, _BLOCKS),
        _u32(data, _BLOCKS_PER_GROUP),
        _u32(data, _INODES_PER_GROUP),
        _u16(data, _INODE_BYTES_AT),
    )


def _descriptors(fd: int, shape: _Shape) -> list[tuple[int, ...]]:
    count = -(-shape.blocks // shape.blocks_per_group)
    data = os.pread(fd, count * _DESCRIPTOR.size, _BLOCK_BYTES)
    return list(_DESCRIPTOR.iter_unpack(data))


def _highest_used(bitmap: bytes) -> int:
    """Return the number of slots up to the last one in use."""
    used = bitmap.rstrip(b"\0")
    return 8 * (len(used) - 1) + used[-1].bit_length() if used else 0


def _different(new: int, old: int, start: int, count: int, inode_bytes: int) -> list[int]:
    slots: list[int] = []
    for at in range(0, count * inode_bytes, _CHUNK_BYTES):
        size = min(_CHUNK_BYTES, count * inode_bytes - at)
        ours, theirs = os.pread(new, size, start + at), os.pread(old, size, start + at)
        if ours != theirs:
            slots += [
                (at + offset) // inode_bytes
                for offset in range(0, size, inode_bytes)
                if ours[offset : offset + inode_bytes] != theirs[offset : offset + inode_bytes]
            ]
    return slots


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _u16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")
