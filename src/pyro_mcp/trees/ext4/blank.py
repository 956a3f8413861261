"""An empty ext4 file system in memory, created by mke2fs, whose blocks can be filled.

This only parses file systems that mke2fs has just created in this process's memory.

Features are listed explicitly, since mke2fs's defaults differ between versions. Omitted are metadata checksums, which
are slow in a guest without hardware acceleration, and 64bit and resize_inode, without which there is less to write. No
blocks are reserved for root, since commands in the guest run as root. Unused tables stay holes in the file.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import process
from pyro_mcp.host.durable import data_extents
from pyro_mcp.host.files import closing_fd

BLOCK_BYTES = 4096
INODE_BYTES = 256
ROOT_INODE = 2
FIRST_INODE = 11
LABEL = "pyro-workspace"

_JOURNAL_MIB = 8
_MIN_DISK_BYTES = 32 * 1024**2
_FEATURES = (
    "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink"
    ",extra_isize"
)
_TIMEOUT_S = 60.0
_ZEROES = bytes(BLOCK_BYTES)

# Offsets of the superblock (struct ext4_super_block, Documentation/filesystems/ext4 of the kernel).
_SUPER = 1024
_INODES_COUNT, _BLOCKS_COUNT, _FREE_BLOCKS, _FREE_INODES = (_SUPER + at for at in (0x00, 0x04, 0x0C, 0x10))
_BLOCKS_PER_GROUP, _INODES_PER_GROUP, _MAGIC = (_SUPER + at for at in (0x20, 0x28, 0x38))
_FIRST_INODE_FIELD, _INODE_SIZE, _FLAGS = (_SUPER + at for at in (0x54, 0x58, 0x160))
_EXT4_MAGIC = 0xEF53
_UNSIGNED_HASH = 0x2
# struct ext4_group_desc, 32 bytes: block bitmap, inode bitmap, inode table, free blocks, free inodes, directories.
_DESCRIPTOR = struct.Struct("<IIIHHH14x")


@dataclass(slots=True)
class Group:
    """A block group: the locations of its tables, and its free counts."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free_blocks: int
    free_inodes: int
    directories: int


class Blank:
    """A file system as created by mke2fs: its non-zero blocks, by number, and the locations of its tables."""

    def __init__(self, blocks: dict[int, bytearray]) -> None:
        self.blocks = blocks
        super_block = blocks[0]
        self.block_count: int = _u32(super_block, _BLOCKS_COUNT)
        self.blocks_per_group: int = _u32(super_block, _BLOCKS_PER_GROUP)
        self.inodes_per_group: int = _u32(super_block, _INODES_PER_GROUP)
        self.inode_count: int = _u32(super_block, _INODES_COUNT)
        self.hashes_unsigned = bool(_u32(super_block, _FLAGS) & _UNSIGNED_HASH)
        if (
            _u16(super_block, _MAGIC) != _EXT4_MAGIC
            or _u16(super_block, _INODE_SIZE) != INODE_BYTES
            or _u32(super_block, _FIRST_INODE_FIELD) != FIRST_INODE
        ):
            raise PyroError(ErrorCode.INTERNAL, "mke2fs created a file system with unexpected parameters")
        count = -(-self.block_count // self.blocks_per_group)
        self.groups = [Group(*_DESCRIPTOR.unpack_from(*self._descriptor(number))) for number in range(count)]

    def block(self, number: int) -> bytearray:
        """Return a block for modification; a hole becomes a block of zeroes."""
        found = self.blocks.get(number)
        if found is None:
            found = self.blocks[number] = bytearray(BLOCK_BYTES)
        return found

    def read(self, number: int) -> bytes | bytearray:
        """Return the content of a block."""
        return self.blocks.get(number, _ZEROES)

    def inode(self, number: int) -> bytes:
        """Return an inode's record."""
        group, index = divmod(number - 1, self.inodes_per_group)
        block, offset = divmod(index * INODE_BYTES, BLOCK_BYTES)
        return bytes(self.read(self.groups[group].inode_table + block)[offset : offset + INODE_BYTES])

    def write_counts(self) -> None:
        """Write the groups' counts, and their totals, to the descriptors and the superblock."""
        for number, group in enumerate(self.groups):
            block, offset = self._descriptor(number)
            counts = (group.free_blocks, group.free_inodes, group.directories)
            _DESCRIPTOR_COUNTS.pack_into(block, offset + 12, *counts)
        super_block = self.blocks[0]
        struct.pack_into("<I", super_block, _FREE_BLOCKS, sum(group.free_blocks for group in self.groups))
        struct.pack_into("<I", super_block, _FREE_INODES, sum(group.free_inodes for group in self.groups))

    def _descriptor(self, number: int) -> tuple[bytearray, int]:
        block, offset = divmod(number * _DESCRIPTOR.size, BLOCK_BYTES)
        return self.block(1 + block), offset


_DESCRIPTOR_COUNTS = struct.Struct("<HHH")


def make_blank(size_bytes: int) -> Blank:
    """Create an empty file system of that size in memory, with mke2fs.

    Raises:
        PyroError: INVALID for a size that is too small or not a multiple of a block; MISSING_PROGRAM, PROGRAM_FAILED.
    """
    if size_bytes < _MIN_DISK_BYTES or size_bytes % BLOCK_BYTES:
        raise PyroError(ErrorCode.INVALID, f"a workspace's disk can't have {size_bytes} bytes")
    with os_errors("prepare a disk in memory"), closing_fd(os.memfd_create("blank", os.MFD_CLOEXEC)) as fd:
        os.ftruncate(fd, size_bytes)
        options = "lazy_journal_init=1,packed_meta_blocks=1,root_owner=0:0"
        shape = f"-q -F -t ext4 -O {_FEATURES} -b {BLOCK_BYTES} -I {INODE_BYTES} -i 16384 -m 0 -J size={_JOURNAL_MIB}"
        process.run(
            ["mke2fs", *shape.split(), "-L", LABEL, "-E", options, f"/proc/self/fd/{fd}"],
            timeout_s=_TIMEOUT_S,
            pass_fds=(fd,),
        )
        return Blank(_used_blocks(fd, size_bytes))


def _used_blocks(fd: int, size_bytes: int) -> dict[int, bytearray]:
    blocks: dict[int, bytearray] = {}
    for start, end in data_extents(fd, size_bytes):
        for offset in range(start, end, BLOCK_BYTES):
            data = os.pread(fd, BLOCK_BYTES, offset)
            if data != _ZEROES:
                blocks[offset // BLOCK_BYTES] = bytearray(data)
    return blocks


def _u32(data: bytearray, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _u16(data: bytearray, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")
