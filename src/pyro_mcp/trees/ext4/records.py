"""The records of ext4 as bytes: inodes, extents, directories and their hash index.

The formats are described in the kernel's Documentation/filesystems/ext4. Block numbers come from the caller.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pyro_mcp.trees.ext4.blank import BLOCK_BYTES

# Targets up to this length are stored in the inode itself.
MAX_FAST_LINK_BYTES = 59
MAX_LINK_COUNT = 65000
# Block numbers within a file have 32 bits.
MAX_FILE_BYTES = (2**32 - 1) * BLOCK_BYTES
LINK_COUNT_AT = 26
# File types in directory entries: EXT4_FT_REG_FILE, EXT4_FT_DIR, EXT4_FT_SYMLINK.
TYPE_FILE, TYPE_DIRECTORY, TYPE_SYMLINK = 1, 2, 7

_EXTENTS_FLAG = 0x80000
_INDEX_FLAG = 0x1000
# Up to and including extra_isize's own 32 bytes; the rest of the 256 is for extended attributes.
_INODE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHHHHIIIIIII")
_EXTRA_BYTES = 32
_EXTENT_MAGIC = 0xF30A
_EXTENT_HEADER = struct.Struct("<HHHHI")
_EXTENT = struct.Struct("<IHHI")
_ONE_EXTENT = struct.Struct("<HHHHIIHHI36x")
_EXTENT_INDEX = struct.Struct("<IIHH")
_INLINE_EXTENTS = 4
_BLOCK_EXTENTS = (BLOCK_BYTES - _EXTENT_HEADER.size) // _EXTENT.size
# Greater lengths mark "unwritten" extents.
MAX_EXTENT_BLOCKS = 32768

_DIRENT = struct.Struct("<IHBB")
_DX_ENTRY = struct.Struct("<II")
_DX_COUNT = struct.Struct("<HHI")
_DX_ROOT_AT, _DX_NODE_AT = 32, 8
_DX_ROOT_LIMIT = (BLOCK_BYTES - _DX_ROOT_AT) // _DX_ENTRY.size
_DX_NODE_LIMIT = (BLOCK_BYTES - _DX_NODE_AT) // _DX_ENTRY.size
# The cheapest hash that every kernel supports. Collisions could only be provoked by the owner of the directory.
_LEGACY_HASH = 0
_HASH_END = 0x7FFFFFFF << 1


@dataclass(slots=True)
class Extent:
    """`length` blocks of a file from block `logical` on, stored from block `physical` on."""

    logical: int
    physical: int
    length: int


class DirectoryEntry(NamedTuple):
    """A name in a directory."""

    name: bytes
    inode: int
    kind: int


def encode_inode(
    *, mode: int, size: int, links: int, mtime_ns: int, now_ns: int, body: bytes, block_count: int, flags: int
) -> bytes:
    """Return an inode owned by root. `block_count` is its number of blocks, including those of its extent tree."""
    modified, modified_extra = _time(mtime_ns)
    now, now_extra = _time(now_ns)
    sectors = block_count * (BLOCK_BYTES // 512)
    return _INODE.pack(
        *(mode, 0, size & 0xFFFFFFFF, modified, now, modified, 0, 0, links, sectors & 0xFFFFFFFF, flags, 0, body),
        *(0, 0, size >> 32, 0, sectors >> 32, 0, 0, 0, 0, 0),
        *(_EXTRA_BYTES, 0, now_extra, modified_extra, modified_extra, now, now_extra, 0, 0),
    )


def _time(value_ns: int) -> tuple[int, int]:
    """Return the seconds, and the field with the nanoseconds and two more bits of the seconds."""
    seconds, nanoseconds = divmod(value_ns, 1_000_000_000)
    if not -(1 << 31) <= seconds < (1 << 34) - (1 << 31):
        seconds, nanoseconds = 0, 0
    epoch = ((seconds + (1 << 31)) >> 32) & 3
    return seconds & 0xFFFFFFFF, nanoseconds << 2 | epoch


def encode_extents(extents: Sequence[Extent], take_block: Callable[[bytes], int]) -> tuple[bytes, int]:
    """Return the 60 bytes of an inode for the extents, and the number of extra blocks for extents that don't fit.

    `take_block` stores an extra block and returns its number.
    """
    if len(extents) == 1:
        (only,) = extents
        return _ONE_EXTENT.pack(_EXTENT_MAGIC, 1, _INLINE_EXTENTS, 0, 0, only.logical, only.length, 0, only.physical), 0
    records = [_EXTENT.pack(extent.logical, extent.length, 0, extent.physical) for extent in extents]
    starts = [extent.logical for extent in extents]
    depth = taken = 0
    while len(records) > _INLINE_EXTENTS:
        above: list[bytes] = []
        above_starts: list[int] = []
        for first in range(0, len(records), _BLOCK_EXTENTS):
            part = records[first : first + _BLOCK_EXTENTS]
            header = _EXTENT_HEADER.pack(_EXTENT_MAGIC, len(part), _BLOCK_EXTENTS, depth, 0)
            number = take_block((header + b"".join(part)).ljust(BLOCK_BYTES, b"\0"))
            taken += 1
            above.append(_EXTENT_INDEX.pack(starts[first], number, 0, 0))
            above_starts.append(starts[first])
        records, starts = above, above_starts
        depth += 1
    header = _EXTENT_HEADER.pack(_EXTENT_MAGIC, len(records), _INLINE_EXTENTS, depth, 0)
    return (header + b"".join(records)).ljust(60, b"\0"), taken


def decode_extents(inode: bytes) -> list[Extent]:
    """Return the extents of an inode without extra blocks."""
    body = inode[40:100]
    _, count, _, depth, _ = _EXTENT_HEADER.unpack_from(body)
    if depth or count > _INLINE_EXTENTS:
        return []
    records = (_EXTENT.unpack_from(body, _EXTENT_HEADER.size + number * _EXTENT.size) for number in range(count))
    return [Extent(logical, physical, length) for logical, length, _, physical in records]


def file_inode(*, mode: int, size: int, mtime_ns: int, now_ns: int, body: bytes, block_count: int) -> bytes:
    """Return the inode of a regular file with one name."""
    return encode_inode(
        mode=stat.S_IFREG | mode, size=size, links=1, mtime_ns=mtime_ns, now_ns=now_ns, body=body,
        block_count=block_count, flags=_EXTENTS_FLAG,
    )  # fmt: skip


def fast_link_inode(*, target: bytes, mtime_ns: int, now_ns: int) -> bytes:
    """Return the inode of a symbolic link whose target is stored in it."""
    return encode_inode(
        mode=stat.S_IFLNK | 0o777, size=len(target), links=1, mtime_ns=mtime_ns, now_ns=now_ns,
        body=target.ljust(60, b"\0"), block_count=0, flags=0,
    )  # fmt: skip


def slow_link_inode(*, size: int, mtime_ns: int, now_ns: int, body: bytes) -> bytes:
    """Return the inode of a symbolic link whose target is in a block."""
    return encode_inode(
        mode=stat.S_IFLNK | 0o777, size=size, links=1, mtime_ns=mtime_ns, now_ns=now_ns, body=body, block_count=1,
        flags=_EXTENTS_FLAG,
    )  # fmt: skip


def directory_inode(
    *, mode: int, blocks: int, subdirectories: int, mtime_ns: int, now_ns: int, body: bytes, block_count: int
) -> bytes:
    """Return the inode of a directory with `block_count` blocks of entries."""
    links = subdirectories + 2
    return encode_inode(
        mode=stat.S_IFDIR | mode, size=blocks * BLOCK_BYTES,
        # A count of 1 means "too many to count" (feature dir_nlink).
        links=links if links < MAX_LINK_COUNT else 1,
        mtime_ns=mtime_ns, now_ns=now_ns, body=body, block_count=block_count,
        flags=_EXTENTS_FLAG | (_INDEX_FLAG if blocks > 1 else 0),
    )  # fmt: skip


def encode_directory(
    inode: int, parent: int, entries: Sequence[DirectoryEntry], *, hashes_unsigned: bool
) -> list[bytes]:
    """Return the blocks of a directory: one, or a hash index and its leaves."""
    dots = [DirectoryEntry(b".", inode, TYPE_DIRECTORY), DirectoryEntry(b"..", parent, TYPE_DIRECTORY)]
    if sum(_room(entry) for entry in (*dots, *entries)) <= BLOCK_BYTES:
        return [_leaf([*dots, *entries])]
    hashed = sorted((name_hash(entry.name, unsigned=hashes_unsigned), entry.name, entry) for entry in entries)
    leaves: list[bytes] = []
    starts: list[int] = []
    group: list[DirectoryEntry] = []
    room = last = 0
    for value, _, entry in hashed:
        needed = _room(entry)
        if group and room + needed > BLOCK_BYTES:
            leaves.append(_leaf(group))
            group, room = [], 0
        if not group:
            # The low bit means that names with this hash are also in the previous leaf.
            starts.append(value | 1 if leaves and value == last else value)
        group.append(entry)
        room += needed
        last = value
    leaves.append(_leaf(group))
    return _indexed(dots, leaves, starts)


def _indexed(dots: list[DirectoryEntry], leaves: list[bytes], starts: list[int]) -> list[bytes]:
    if len(leaves) <= _DX_ROOT_LIMIT:
        return [_root(dots, 0, _index(_DX_ROOT_LIMIT, starts, first_block=1)), *leaves]
    count = -(-len(leaves) // _DX_NODE_LIMIT)
    if count > _DX_ROOT_LIMIT:
        raise ValueError("a directory with too many entries")
    nodes: list[bytes] = []
    node_starts: list[int] = []
    for first in range(0, len(leaves), _DX_NODE_LIMIT):
        part = starts[first : first + _DX_NODE_LIMIT]
        node_starts.append(part[0])
        index = _index(_DX_NODE_LIMIT, part, first_block=1 + count + first)
        nodes.append((_DIRENT.pack(0, BLOCK_BYTES, 0, 0) + index).ljust(BLOCK_BYTES, b"\0"))
    return [_root(dots, 1, _index(_DX_ROOT_LIMIT, node_starts, first_block=1)), *nodes, *leaves]


def _root(dots: list[DirectoryEntry], levels: int, index: bytes) -> bytes:
    this, parent = dots
    head = (
        _DIRENT.pack(this.inode, 12, 1, TYPE_DIRECTORY) + b".\0\0\0"
        + _DIRENT.pack(parent.inode, BLOCK_BYTES - 12, 2, TYPE_DIRECTORY) + b"..\0\0"
        + struct.pack("<IBBBB", 0, _LEGACY_HASH, 8, levels, 0)
    )  # fmt: skip
    return (head + index).ljust(BLOCK_BYTES, b"\0")


def _index(limit: int, starts: list[int], *, first_block: int) -> bytes:
    # The first entry has no hash; limit and count are stored in its place.
    first = _DX_COUNT.pack(limit, len(starts), first_block)
    return first + b"".join(_DX_ENTRY.pack(start, first_block + at) for at, start in enumerate(starts) if at)


def _leaf(entries: Iterable[DirectoryEntry]) -> bytes:
    parts: list[bytes] = []
    used = 0
    last = b""
    for entry in entries:
        length = _room(entry)
        last = _DIRENT.pack(entry.inode, length, len(entry.name), entry.kind)
        parts += (last, entry.name.ljust(length - _DIRENT.size, b"\0"))
        used += length
    inode, length, name_length, kind = _DIRENT.unpack(last)
    # The last entry extends to the end of the block.
    parts[-2] = _DIRENT.pack(inode, length + BLOCK_BYTES - used, name_length, kind)
    return b"".join(parts).ljust(BLOCK_BYTES, b"\0")


def _room(entry: DirectoryEntry) -> int:
    return _DIRENT.size + (len(entry.name) + 3 & ~3)


def name_hash(name: bytes, *, unsigned: bool) -> int:
    """Return the "legacy" hash of a name: dx_hack_hash in the kernel's fs/ext4/hash.c."""
    before, value = 0x37ABE8F9, 0x12A3FE2D
    for byte in name:
        number = byte if unsigned or byte < 0x80 else byte - 0x100
        mixed = (before + (value ^ (number * 7152373 & 0xFFFFFFFF))) & 0xFFFFFFFF
        if mixed & 0x80000000:
            mixed = (mixed - 0x7FFFFFFF) & 0xFFFFFFFF
        before, value = value, mixed
    value = value << 1 & 0xFFFFFFFE
    return value if value != _HASH_END else _HASH_END - 2
