"""Allocate the blocks of a new disk in sequence, and write data into them in large pieces.

There is no seeking back: a tree is written once, from its first file to its last.
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
# A few system calls more than one pay off only for files of some size.
IN_KERNEL_BYTES = 512 * 1024
_COPY_BYTES = 64 * 1024 * 1024
_ZEROES = bytes(BUFFER_BYTES)


@dataclass(slots=True)
class Run:
    """Blocks that follow each other and were free; the first `taken` of them are not any more."""

    start: int
    length: int
    taken: int = 0


class Space:
    """The free blocks of a disk, from the first to the last."""

    def __init__(self, blank: Blank) -> None:
        self._runs = free_runs(blank)
        self._at = 0

    def peek(self) -> tuple[int, int]:
        """Return the next free block, and how many follow it without a gap, itself among them.

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
        """Take so many of the blocks that `peek` returned."""
        self._runs[self._at].taken += count

    def taken_runs(self) -> list[tuple[int, int]]:
        """Return the blocks that were taken, as first block and count."""
        return [(run.start, run.taken) for run in self._runs if run.taken]


def free_runs(blank: Blank) -> list[Run]:
    """Return the free blocks of a file system, joined over the borders of groups."""
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
            # The used ones: as many as there are ones at the low end.
            at += (~rest & (rest + 1)).bit_length() - 1 if rest else 0
    return runs


class DataArea:
    """Content on its way into the disk's blocks; appended data belongs to the file that was begun last."""

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
        """End the file and return where its content is; its last block is filled up with zeroes."""
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
        """Append so many bytes of another file, from `offset` on; return how many there were.

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
        """Take a whole file that is not empty, begun and ended, and return where it is.

        None, with nothing done, if that is not possible at one go.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from reading or writing.
        """
        if not self._has_room(size):
            return None
        count = os.preadv(fd, [self._view[self._fill : self._fill + size]], 0)
        # It may have become shorter, and some file systems give less at a time than they were asked for.
        return self._take_small(size) if count == size else None

    def small_content(self, data: memoryview) -> Extent | None:
        """Take the whole content of a file that is not empty, as `small_file` does.

        Raises:
            PyroError: NO_SPACE if the disk is full. OSError from writing.
        """
        if not self._has_room(len(data)):
            return None
        self._view[self._fill : self._fill + len(data)] = data
        return self._take_small(len(data))

    def _has_room(self, size: int) -> bool:
        """Say whether a file of that size has room in the buffer, which is emptied for that."""
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
        """Go on at a later place of the file; whole blocks between are a hole."""
        block = offset - offset % BLOCK_BYTES
        if block > self._position:
            self._align()
            self._position = block
        self._zeroes(offset - self._position)

    def store(self, block: bytes) -> int:
        """Store a block that belongs to no content, between two files or after `end`; return its number."""
        self._prepare()
        number = self._base + self._fill // BLOCK_BYTES
        self._view[self._fill : self._fill + BLOCK_BYTES] = block
        self._fill += BLOCK_BYTES
        return number

    def flush(self) -> None:
        """Write what is still in memory."""
        if self._fill:
            write_at(self._fd, self._view[: self._fill], self._base * BLOCK_BYTES)
            self._space.take(-(-self._fill // BLOCK_BYTES))
        self._fill = self._room = 0

    def _prepare(self) -> int:
        """Return how many bytes the buffer takes now."""
        if self._fill == self._room:
            self.flush()
            self._base, count = self._space.peek()
            self._room = min(BUFFER_BYTES, count * BLOCK_BYTES)
        return self._room - self._fill

    def _grow(self, count: int) -> None:
        """Account for bytes that were put into the buffer."""
        first = self._base + self._fill // BLOCK_BYTES
        end = self._base - (-(self._fill + count) // BLOCK_BYTES)
        self._extend(first, end - first)
        self._fill += count
        self._position += count

    def _extend(self, physical: int, count: int) -> None:
        """Return where the file's next blocks are; the first may be its last one so far, if that was not full."""
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
        """Append from a file without its content coming through this process."""
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
            # The rest of the last block is a hole of the disk's file: zeroes, and written already.
            self._position += -self._position % BLOCK_BYTES
        return done


def set_bits(bitmap: bytearray, first: int, count: int) -> None:
    """Set so many bits of a bitmap, from `first` on; the lowest bit of a byte is its first."""
    end = first + count
    head = min(-first % 8, count)
    for bit in (*range(first, first + head), *range(max(end - end % 8, first + head), end)):
        bitmap[bit // 8] |= 1 << bit % 8
    from_byte, to_byte = (first + head) // 8, end // 8
    if to_byte > from_byte:
        bitmap[from_byte:to_byte] = b"\xff" * (to_byte - from_byte)
