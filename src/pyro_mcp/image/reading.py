"""Read files out of an environment's read-only image, without mounting it.

Only for images that `image.filesystem` wrote and whose digest was verified: never for a disk that a guest has written.
The formats are described in the kernel's Documentation/filesystems/ext4.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 4096
_SUPER = 1024
_SUPER_BYTES = 1024
_INODES_PER_GROUP, _MAGIC, _INODE_SIZE = 0x28, 0x38, 0x58
_EXT4_MAGIC = 0xEF53
_ROOT_INODE = 2
_DESCRIPTOR_BYTES = 32
_INODE_TABLE = 8
_EXTENT_HEADER = struct.Struct("<HHHHI")
_EXTENT = struct.Struct("<IHHI")
_EXTENT_INDEX = struct.Struct("<IIHH")
_EXTENT_MAGIC = 0xF30A
_MAX_DEPTH = 5
_MAX_EXTENT_BLOCKS = 32768
_DIRENT = struct.Struct("<IHBB")
_FAST_LINK_BYTES = 60
_MAX_LINKS = 40
_MAX_LINK_BYTES = 4096
_MAX_DIRECTORY_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class _Inode:
    mode: int
    size: int
    body: bytes


class ImageFiles:
    """The files of one image, by absolute path. Symbolic links are followed inside the image."""

    def __init__(self, fd: int) -> None:
        """Read the superblock.

        Raises:
            OSError: EINVAL if it is not an ext4 file system of the expected shape.
        """
        self._fd = fd
        head = self._bytes_at(_SUPER, _SUPER_BYTES)
        (magic,) = struct.unpack_from("<H", head, _MAGIC)
        (self._inodes_per_group,) = struct.unpack_from("<I", head, _INODES_PER_GROUP)
        (self._inode_bytes,) = struct.unpack_from("<H", head, _INODE_SIZE)
        if magic != _EXT4_MAGIC or self._inodes_per_group == 0 or self._inode_bytes < 128:
            raise _damaged("the superblock is not that of an environment")
        self._listed: dict[int, dict[bytes, int]] = {}

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the first `max_bytes` of a regular file.

        Raises:
            OSError: ENOENT, EISDIR, ELOOP and others as of open(2); EINVAL for a damaged image.
        """
        inode = self._inode(self._find(path))
        if not stat.S_ISREG(inode.mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(inode.mode) else errno.EINVAL, "not a regular file", path)
        return self._content(inode, max_bytes)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory.

        Raises:
            OSError: ENOENT, ENOTDIR and others; EINVAL for a damaged image.
        """
        entries = self._entries(self._find(path))
        return sorted(os.fsdecode(name) for name in entries if name not in {b".", b".."})

    def _find(self, path: str) -> int:
        """Return the number of a file's inode, after following links."""
        pending = [os.fsencode(part) for part in reversed(path.split("/"))]
        at = [_ROOT_INODE]
        links = 0
        while pending:
            part = pending.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                at = at[:-1] or at
                continue
            number = self._entries(at[-1]).get(part)
            if number is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = self._inode(number)
            if not stat.S_ISLNK(inode.mode):
                at.append(number)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = self._target(inode)
            if target.startswith(b"/"):
                at = [_ROOT_INODE]
            pending += reversed(target.split(b"/"))
        return at[-1]

    def _target(self, inode: _Inode) -> bytes:
        return inode.body[: inode.size] if inode.size < _FAST_LINK_BYTES else self._content(inode, _MAX_LINK_BYTES)

    def _entries(self, number: int) -> dict[bytes, int]:
        if (known := self._listed.get(number)) is not None:
            return known
        inode = self._inode(number)
        if not stat.S_ISDIR(inode.mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        # The nodes of a hash index look like blocks without names, so that a directory can be read from end to end.
        found = dict(_directory_entries(self._content(inode, _MAX_DIRECTORY_BYTES)))
        self._listed[number] = found
        return found

    def _inode(self, number: int) -> _Inode:
        group, index = divmod(number - 1, self._inodes_per_group)
        if number < 1:
            raise _damaged(f"there is no inode {number}")
        descriptor = self._bytes_at(_BLOCK_BYTES + group * _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES)
        (table,) = struct.unpack_from("<I", descriptor, _INODE_TABLE)
        data = self._bytes_at(table * _BLOCK_BYTES + index * self._inode_bytes, 128)
        mode, _, low = struct.unpack_from("<HHI", data)
        (high,) = struct.unpack_from("<I", data, 108)
        return _Inode(mode, high << 32 | low, data[40:100])

    def _content(self, inode: _Inode, max_bytes: int) -> bytes:
        wanted = min(inode.size, max_bytes)
        parts: list[bytes] = []
        at = 0
        for logical, physical, blocks in self._extents(inode.body, None):
            start = logical * _BLOCK_BYTES
            if start >= wanted:
                break
            if start < at or not blocks:
                raise _damaged("the extents of a file are out of order")
            parts.append(bytes(start - at))
            size = min(blocks * _BLOCK_BYTES, wanted - start)
            parts.append(self._bytes_at(physical * _BLOCK_BYTES, size) if physical else bytes(size))
            at = start + size
        return b"".join(parts).ljust(wanted, b"\0")

    def _extents(self, node: bytes, level: int | None) -> Iterator[tuple[int, int, int]]:
        """Yield first block of the file, first block of the image (0: zeroes) and number of blocks, in order."""
        magic, count, _, depth, _ = _EXTENT_HEADER.unpack_from(node)
        is_expected = depth <= _MAX_DEPTH if level is None else depth == level and count
        if magic != _EXTENT_MAGIC or not is_expected or _EXTENT_HEADER.size * (count + 1) > len(node):
            raise _damaged("the extents of a file can't be read")
        for at in range(_EXTENT_HEADER.size, _EXTENT_HEADER.size * (count + 1), _EXTENT.size):
            if depth:
                _, low, high, _ = _EXTENT_INDEX.unpack_from(node, at)
                below = self._bytes_at((high << 32 | low) * _BLOCK_BYTES, _BLOCK_BYTES)
                yield from self._extents(below, depth - 1)
                continue
            logical, length, high, low = _EXTENT.unpack_from(node, at)
            written = length <= _MAX_EXTENT_BLOCKS
            yield logical, (high << 32 | low) if written else 0, length if written else length - _MAX_EXTENT_BLOCKS

    def _bytes_at(self, offset: int, count: int) -> bytes:
        data = os.pread(self._fd, count, offset)
        if len(data) < count:
            raise _damaged("the image ends too early")
        return data


def _directory_entries(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + _DIRENT.size <= len(data):
        inode, length, name_bytes, _ = _DIRENT.unpack_from(data, at)
        if length < _DIRENT.size:
            raise _damaged("a directory can't be read")
        if inode:
            yield data[at + _DIRENT.size : at + _DIRENT.size + name_bytes], inode
        at += length


def _damaged(what: str) -> OSError:
    return OSError(errno.EINVAL, what)


@contextmanager
def open_image(path: Path) -> Generator[ImageFiles]:
    """Yield the files of the image `path`.

    Raises:
        OSError: it can't be opened, or is not an ext4 file system of the expected shape.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield ImageFiles(fd)
    finally:
        os.close(fd)
