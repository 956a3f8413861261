"""Allocate the blocks of a new disk in sequence, and write data into them in large pieces.

Writing is strictly sequential, from the first file of a tree to the last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import copy_range
from pyro_mcp.host.files import write_at
from pyro_mcp.trees.ext4.blank import BLOCK_BYTES, Blank
from pyro_mcp.trees.ext4.records import MAX_EXTENT_BLOCKS, Extent

BUFFER_BYTES = 4 * 1024 * 1024
# Below this size, the additional system calls of copying inside the kernel don't pay off.
IN_KERNEL_BYTES = 512 * 1024
_COPY_BYTES = 64 * 1024 * 1024
_ZEROES = bytes(BUFFER_BYTES)


@dataclass(slots=True)
class Run:
    """A run of contiguous blocks, of which the first `taken` are allocated."""

    start: int
    length: int
    taken: int = 0


class Space:
    """The free blocks of a disk, from the first to the last."""

    def __init__(self, blank: Blank) -> None:
        self._runs = free_runs(blank)
        self._at = 0

    def peek(self) -> tuple[int, int]:
        """Return the next free block, and the number of contiguous free blocks from there on.

        Raises:
            PyroError: NO_SPACE if the disk is full.
        """
        while self._at < len(self._runs):
            run = self._runs[self._at]
            if run.taken < run.length:
                return run.start + run.taken, run.length - run.taken
            self._at += 1
        raise PyroError(
            ErrorCode.NO_SPACE,
            "the tree does not fit into the workspace's disk",
            hint="Seed the workspace from a part of it.",
        )

    def take(self, count: int) -> None:
        """Allocate `count` of the blocks returned by `peek`."""
        self._runs[self._at].taken += count

    def taken_runs(self) -> list[tuple[int, int]]:
        """Return the allocated blocks, as (first block, count)."""
        return [(run.start, run.taken) for run in self._runs if run.taken]


def free_runs(blank: Blank) -> list[Run]:
    """Return the free blocks of a file system, merged across group boundaries."""
    runs: list[Run] = []
    for number, group in enumerate(blank.groups):
        first = number * blank.blocks_per_group
        count = min(blank.blocks_per_group, blank.block_count - first)
        # The lowest bit of the first byte is the group's first block.
        used = int.from_bytes(blank.read(group.block_bitmap), "little") & ((1 << count) - 1)
        at = 0
        while at < count:
            rest = used >> at
            free = count - at if rest == 0 else (rest & -rest).bit_length() - 1
            if free:
                if runs and runs[-1].start + runs[-1].length == first + at:
                    runs[-1].length += free
                else:
                    runs.append(Run(first + at, free))
                at += free
                rest = used >> at
            # Skip used blocks: count the trailing one bits.
            at += (~rest & (rest + 1)).bit_length() - 1 if rest else 0
    return runs


class DataArea:
    """Writes content to the disk's blocks; appended data belongs to the most recently begun file."""

    def __init__(self, fd: int, space: Space) -> None:
        self._fd = fd
        self._space = space
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._base = 0
        self._room = 0
        self._fill = 0
        self._extents: list[Extent] = []
        self._position = 0

    def begin(self) -> None:
        """Begin a file."""
        self._extents = []
        self._position = 0

    def end(self) -> list[Extent]:
        """End the file and return its extents; its last block is padded with zeroes."""
        self._align()
        return self._extents

    def append(self, data: memoryview | bytes) -> None:
        """Append content to the file.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from writing.
        """
        data = memoryview(data)
        while data:
            room = self._prepare()
            piece = data[:room]
            self._view[self._fill : self._fill + len(piece)] = piece
            self._grow(len(piece))
            data = data[len(piece) :]

    def append_from(self, fd: int, length: int, offset: int) -> int:
        """Append `length` bytes of another file, from `offset` on; return how many were available.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from reading or writing.
        """
        if length >= IN_KERNEL_BYTES and self._position % BLOCK_BYTES == 0:
            return self._copy(fd, length, offset)
        done = 0
        while done < length:
            room = min(self._prepare(), length - done)
            count = os.preadv(fd, [self._view[self._fill : self._fill + room]], offset + done)
            if count == 0:
                break
            self._grow(count)
            done += count
        return done

    def small_file(self, fd: int, size: int) -> Extent | None:
        """Write a whole non-empty file, and return its extent.

        Returns None, without doing anything, if the file can't be written in one piece.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from reading or writing.
        """
        if not self._has_room(size):
            return None
        count = os.preadv(fd, [self._view[self._fill : self._fill + size]], 0)
        # The file may have been truncated, and some file systems return short reads.
        return self._take_small(size) if count == size else None

    def small_content(self, data: memoryview) -> Extent | None:
        """Write the whole content of a non-empty file, like `small_file`.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from writing.
        """
        if not self._has_room(len(data)):
            return None
        self._view[self._fill : self._fill + len(data)] = data
        return self._take_small(len(data))

    def _has_room(self, size: int) -> bool:
        """Return whether a file of that size fits into the buffer, which is flushed if necessary."""
        wanted = size + -size % BLOCK_BYTES
        if wanted > self._room - self._fill:
            self.flush()
            return wanted <= self._prepare()
        return True

    def _take_small(self, size: int) -> Extent:
        fill, padding = self._fill, -size % BLOCK_BYTES
        self._view[fill + size : fill + size + padding] = _ZEROES[:padding]
        self._fill = fill + size + padding
        return Extent(0, self._base + fill // BLOCK_BYTES, (size + padding) // BLOCK_BYTES)

    def seek(self, offset: int) -> None:
        """Continue at a later offset of the file; whole blocks in between become a hole."""
        block = offset - offset % BLOCK_BYTES
        if block > self._position:
            self._align()
            self._position = block
        self._zeroes(offset - self._position)

    def store(self, block: bytes) -> int:
        """Store a metadata block, between two files or after `end`; return its number."""
        self._prepare()
        number = self._base + self._fill // BLOCK_BYTES
        self._view[self._fill : self._fill + BLOCK_BYTES] = block
        self._fill += BLOCK_BYTES
        return number

    def flush(self) -> None:
        """Write buffered data."""
        if self._fill:
            write_at(self._fd, self._view[: self._fill], self._base * BLOCK_BYTES)
            self._space.take(-(-self._fill // BLOCK_BYTES))
        self._fill = self._room = 0

    def _prepare(self) -> int:
        """Return the free space of the buffer in bytes, after making room."""
        if self._fill == self._room:
            self.flush()
            self._base, count = self._space.peek()
            self._room = min(BUFFER_BYTES, count * BLOCK_BYTES)
        return self._room - self._fill

    def _grow(self, count: int) -> None:
        """Account for bytes that were added to the buffer."""
        first = self._base + self._fill // BLOCK_BYTES
        end = self._base - (-(self._fill + count) // BLOCK_BYTES)
        self._extend(first, end - first)
        self._fill += count
        self._position += count

    def _extend(self, physical: int, count: int) -> None:
        """Extend the file's extents by blocks from `physical` on; the first may be its last block, if not yet full."""
        logical = self._position // BLOCK_BYTES
        extents = self._extents
        if extents:
            last = extents[-1]
            beyond = logical - last.logical - last.length
            if beyond < 0:
                logical, physical, count = logical + 1, physical + 1, count - 1
            joins = last.logical + last.length == logical and last.physical + last.length == physical
            if joins and last.length + count <= MAX_EXTENT_BLOCKS:
                last.length += count
                return
        while count > 0:
            part = min(count, MAX_EXTENT_BLOCKS)
            extents.append(Extent(logical, physical, part))
            logical, physical, count = logical + part, physical + part, count - part

    def _align(self) -> None:
        self._zeroes(-self._position % BLOCK_BYTES)

    def _zeroes(self, count: int) -> None:
        if count:
            self.append(_ZEROES[:count])

    def _copy(self, fd: int, length: int, offset: int) -> int:
        """Append from a file inside the kernel, without copying through this process."""
        self._align()
        self.flush()
        done = 0
        while done < length:
            first, count = self._space.peek()
            wanted = min(length - done, count * BLOCK_BYTES, _COPY_BYTES)
            copied = copy_range(fd, self._fd, wanted, offset + done, first * BLOCK_BYTES)
            blocks = -(-copied // BLOCK_BYTES)
            if blocks:
                self._extend(first, blocks)
                self._space.take(blocks)
                self._position += copied
                done += copied
            if copied < wanted:
                break
        if self._position % BLOCK_BYTES:
            # The rest of the last block is a hole in the disk's file, and so already zero.
            self._position += -self._position % BLOCK_BYTES
        return done


def set_bits(bitmap: bytearray, first: int, count: int) -> None:
    """Set `count` bits of a bitmap from `first` on, least significant bit first."""
    end = first + count
    head = min(-first % 8, count)
    for bit in (*range(first, first + head), *range(max(end - end % 8, first + head), end)):
        bitmap[bit // 8] |= 1 << bit % 8
    from_byte, to_byte = (first + head) // 8, end // 8
    if to_byte > from_byte:
        bitmap[from_byte:to_byte] = b"\xff" * (to_byte - from_byte)
