"""Write a tree into a new ext4 disk.

Content is written first, then the tables that refer to it, and the superblock last, so that an unfinished disk has no
valid file system. An existing disk is never modified.

`mke2fs -d` is not used because its time is quadratic in a directory's entries (30,000 files: 43 s), it copies owners
and modes unchanged, and it supports only whole directories: archives, and parts of a checkout, would have to be
unpacked on the host first. mke2fs only creates the empty file system.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import write_at
from pyro_mcp.protocol.names import parent_of, shown_briefly
from pyro_mcp.trees.entries import NO_CONTENT, Data, Entry, Kind
from pyro_mcp.trees.ext4 import records
from pyro_mcp.trees.ext4.blank import BLOCK_BYTES, FIRST_INODE, INODE_BYTES, ROOT_INODE, Blank
from pyro_mcp.trees.ext4.records import Extent
from pyro_mcp.trees.ext4.space import IN_KERNEL_BYTES, DataArea, Space, set_bits

# mke2fs always creates lost+found, but `git clone URL .` and other tools require an empty directory. It is not needed.
_LOST_AND_FOUND = FIRST_INODE
_UNUSED_INODE = bytes(INODE_BYTES)


@dataclass(slots=True)
class _Directory:
    inode: int
    parent: int
    mode: int
    mtime_ns: int
    subdirectories: int = 0
    entries: list[records.DirectoryEntry] = field(default_factory=list[records.DirectoryEntry])


class Disk:
    """A disk being written. Entries are added in sequence, then `finish` completes the file system."""

    def __init__(self, fd: int, blank: Blank) -> None:
        self._fd = fd
        self._blank = blank
        self._now_ns = time.time_ns()
        _free_directory(blank, ROOT_INODE)
        _free_directory(blank, _LOST_AND_FOUND)
        self._space = Space(blank)
        self._area = DataArea(fd, self._space)
        self._inodes = _InodeTable(blank)
        self._root = _Directory(ROOT_INODE, ROOT_INODE, 0o755, self._now_ns)
        self._directories: dict[bytes, _Directory] = {b"": self._root}
        self._files: dict[bytes, int] = {}
        self._open: Entry | None = None
        self.entry_count = 0
        self.bytes_written = 0

    def add(self, entry: Entry) -> int:
        """Add an entry; without a descriptor, its content follows by `write`. Return the number of bytes read.

        Raises:
            PyroError: NO_SPACE if it does not fit.
            OSError: from reading or writing.
        """
        self._close_file()
        if entry.path not in self._directories:
            self.entry_count += 1
        match entry.kind:
            case Kind.DIRECTORY:
                self._add_directory(entry)
            case Kind.SYMLINK:
                self._add_symlink(entry)
            case Kind.LINK:
                self._add_link(entry)
            case Kind.FILE:
                if entry.size > records.MAX_FILE_BYTES:
                    raise PyroError(
                        ErrorCode.INVALID, f"{shown_briefly(entry.path)} is larger than ext4 lets a file be (16 TiB)"
                    )
                if entry.fd != NO_CONTENT:
                    return self._read(entry)
                self._open = entry
                self._area.begin()
        return 0

    def write(self, data: Data) -> None:
        """Add content to the most recent file.

        Raises:
            PyroError: NO_SPACE if it does not fit. OSError from writing.
        """
        self.bytes_written += len(data.data)
        entry = self._open
        if entry is not None and len(data.data) == entry.size < IN_KERNEL_BYTES:
            # The whole content in one piece, which is the usual case.
            extent = self._area.small_content(data.data)
            if extent is not None:
                self._open = None
                self._store_file(entry, [extent])
                return
        self._area.seek(data.offset)
        self._area.append(data.data)

    def finish(self) -> None:
        """Write the tables that refer to the content, then the superblock.

        Raises:
            PyroError: NO_SPACE if it does not fit. OSError from writing.
        """
        self._close_file()
        for directory in self._directories.values():
            self._store_directory(directory)
        self._area.flush()
        _mark_used(self._blank, self._space.taken_runs())
        self._inodes.write(self._fd)
        self._blank.write_counts()
        for number in sorted(self._blank.blocks, reverse=True):
            write_at(self._fd, memoryview(self._blank.blocks[number]), number * BLOCK_BYTES)

    def _read(self, entry: Entry) -> int:
        """Copy a file's content from its descriptor. It may have been truncated since its size was read."""
        if entry.segments is None and 0 < entry.size < IN_KERNEL_BYTES:
            extent = self._area.small_file(entry.fd, entry.size)
            if extent is not None:
                self.bytes_written += entry.size
                self._store_file(entry, [extent])
                return entry.size
        self._area.begin()
        read = 0
        for offset, length in _whole_blocks(entry):
            self._area.seek(offset)
            count = self._area.append_from(entry.fd, length, offset)
            read += count
            if count < length:
                entry = entry._replace(size=offset + count)
                break
        self.bytes_written += read
        self._store_file(entry, self._area.end())
        return read

    def _close_file(self) -> None:
        if self._open is not None:
            entry, self._open = self._open, None
            self._store_file(entry, self._area.end())

    def _store_file(self, entry: Entry, extents: list[Extent]) -> None:
        body, taken = records.encode_extents(extents, self._area.store)
        record = records.file_inode(
            mode=entry.mode,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
            now_ns=self._now_ns,
            body=body,
            block_count=_block_count(extents) + taken,
        )
        inode = self._inodes.add(record)
        self._name(entry.path, inode, records.TYPE_FILE)
        self._files[entry.path] = inode

    def _add_directory(self, entry: Entry) -> None:
        known = self._directories.get(entry.path)
        if known is not None:
            known.mode, known.mtime_ns = entry.mode, entry.mtime_ns
            return
        parent = self._directories[parent_of(entry.path)]
        parent.subdirectories += 1
        inode = self._inodes.add(_UNUSED_INODE)
        self._directories[entry.path] = _Directory(inode, parent.inode, entry.mode, entry.mtime_ns)
        self._name(entry.path, inode, records.TYPE_DIRECTORY)

    def _add_symlink(self, entry: Entry) -> None:
        target = entry.target
        if len(target) <= records.MAX_FAST_LINK_BYTES:
            record = records.fast_link_inode(target=target, mtime_ns=entry.mtime_ns, now_ns=self._now_ns)
        else:
            self._area.begin()
            self._area.append(target)
            body, _ = records.encode_extents(self._area.end(), self._area.store)
            record = records.slow_link_inode(size=len(target), mtime_ns=entry.mtime_ns, now_ns=self._now_ns, body=body)
        inode = self._inodes.add(record)
        self._name(entry.path, inode, records.TYPE_SYMLINK)

    def _add_link(self, entry: Entry) -> None:
        inode = self._files[entry.target]
        if not self._inodes.add_name(inode):
            raise PyroError(
                ErrorCode.INVALID,
                f"{shown_briefly(entry.target)} has more than {records.MAX_LINK_COUNT} hard links",
                hint="ext4 does not support more.",
            )
        self._name(entry.path, inode, records.TYPE_FILE)
        self._files[entry.path] = inode

    def _name(self, path: bytes, inode: int, kind: int) -> None:
        parent, _, name = path.rpartition(b"/")
        self._directories[parent].entries.append(records.DirectoryEntry(name, inode, kind))

    def _store_directory(self, directory: _Directory) -> None:
        blocks = records.encode_directory(
            directory.inode, directory.parent, directory.entries, hashes_unsigned=self._blank.hashes_unsigned
        )
        self._area.begin()
        for block in blocks:
            self._area.append(block)
        extents = self._area.end()
        body, taken = records.encode_extents(extents, self._area.store)
        record = records.directory_inode(
            mode=directory.mode,
            blocks=len(blocks),
            subdirectories=directory.subdirectories,
            mtime_ns=directory.mtime_ns,
            now_ns=self._now_ns,
            body=body,
            block_count=len(blocks) + taken,
        )
        self._inodes.set(directory.inode, record)
        group = (directory.inode - 1) // self._blank.inodes_per_group
        self._blank.groups[group].directories += 1


class _InodeTable:
    """The inodes of the disk, allocated in sequence from the first free one."""

    def __init__(self, blank: Blank) -> None:
        self._blank = blank
        self._records = bytearray(b"".join(blank.inode(number) for number in range(1, FIRST_INODE)))

    def add(self, record: bytes) -> int:
        """Store a record as the next inode, and return its number.

        Raises:
            PyroError: NO_SPACE if the disk has no free inode.
        """
        number = len(self._records) // INODE_BYTES + 1
        if number > self._blank.inode_count:
            raise PyroError(
                ErrorCode.NO_SPACE,
                f"the tree has more than the {self._blank.inode_count} files that a workspace's disk holds",
                hint="Seed the workspace from a part of it.",
            )
        self._records += record.ljust(INODE_BYTES, b"\0")
        return number

    def set(self, number: int, record: bytes) -> None:
        """Replace the record of an allocated inode."""
        at = (number - 1) * INODE_BYTES
        self._records[at : at + len(record)] = record

    def add_name(self, number: int) -> bool:
        """Increment the link count of a file; return False if it would exceed the maximum."""
        at = (number - 1) * INODE_BYTES + records.LINK_COUNT_AT
        links = int.from_bytes(self._records[at : at + 2], "little") + 1
        self._records[at : at + 2] = links.to_bytes(2, "little")
        return links <= records.MAX_LINK_COUNT

    def write(self, fd: int) -> None:
        """Write the tables, and mark allocated inodes in the groups."""
        count = len(self._records) // INODE_BYTES
        per_group = self._blank.inodes_per_group
        for number, group in enumerate(self._blank.groups):
            taken = min(max(count - number * per_group, 0), per_group)
            if not taken:
                break
            set_bits(self._blank.block(group.inode_bitmap), 0, taken)
            first = number * per_group * INODE_BYTES
            with memoryview(self._records)[first : first + taken * INODE_BYTES] as table:
                write_at(fd, table, group.inode_table * BLOCK_BYTES)
            self._blank.blocks.pop(group.inode_table, None)
            group.free_inodes = per_group - taken


def _mark_used(blank: Blank, runs: Iterable[tuple[int, int]]) -> None:
    for start, length in runs:
        at, end = start, start + length
        while at < end:
            number, first = divmod(at, blank.blocks_per_group)
            count = min(end - at, blank.blocks_per_group - first)
            group = blank.groups[number]
            set_bits(blank.block(group.block_bitmap), first, count)
            group.free_blocks -= count
            at += count


def _free_directory(blank: Blank, inode: int) -> None:
    """Free the blocks and the inode of a directory created by mke2fs, which is written again, or omitted."""
    home = blank.groups[(inode - 1) // blank.inodes_per_group]
    home.directories -= 1
    blank.block(home.inode_bitmap)[(inode - 1) // 8] &= ~(1 << (inode - 1) % 8)
    for extent in records.decode_extents(blank.inode(inode)):
        for block in range(extent.physical, extent.physical + extent.length):
            blank.blocks.pop(block, None)
            number, index = divmod(block, blank.blocks_per_group)
            group = blank.groups[number]
            blank.block(group.block_bitmap)[index // 8] &= ~(1 << index % 8)
            group.free_blocks += 1


def _whole_blocks(entry: Entry) -> list[tuple[int, int]]:
    """Return the data segments of a file, extended to whole blocks."""
    if entry.segments is None:
        return [(0, entry.size)] if entry.size else []
    parts: list[tuple[int, int]] = []
    for offset, length in entry.segments:
        start = offset - offset % BLOCK_BYTES
        end = min(-(-(offset + length) // BLOCK_BYTES) * BLOCK_BYTES, entry.size)
        if parts and start <= parts[-1][0] + parts[-1][1]:
            start = parts.pop()[0]
        parts.append((start, end - start))
    return parts


def _block_count(extents: Iterable[Extent]) -> int:
    return sum(extent.length for extent in extents)
