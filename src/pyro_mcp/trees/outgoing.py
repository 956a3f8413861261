"""Encode a tree as a tar stream for a guest, with the same rules as seeding, and report on it.

The stream is POSIX pax, written by `tar_writer`. Without tar's end mark, the guest knows that the stream is incomplete.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

from pyro_mcp.errors import os_errors
from pyro_mcp.protocol import tar_writer
from pyro_mcp.trees.entries import NO_CONTENT, Entry, Kind, TreeSource, data_bytes
from pyro_mcp.trees.hooks.census import HookCensus
from pyro_mcp.trees.report import SeedReport, report_on
from pyro_mcp.trees.source import open_source

_CHUNK_BYTES = 256 * 1024


def stream_tree(source: Path | TreeSource, *, avoid: tuple[Path, ...] = ()) -> TreeStream:
    """Return the stream of a directory, an archive or another source. An archive is first validated as a whole.

    The directories `avoid`, such as the product's own, are omitted if they are in the tree. Iterating may raise the
    same errors, if the tree changed meanwhile or can't be read.

    Raises:
        PyroError: NOT_FOUND, INVALID, PERMISSION, CORRUPT, UNSUPPORTED, each naming the path or member.
    """
    opened = open_source(source, avoid=avoid) if isinstance(source, Path) else source
    opened.check()
    return TreeStream(opened)


class TreeStream:
    """The bytes of a tree, in pieces of about 256 KiB. It can be iterated only once.

    `report` is complete once the stream is exhausted; `close` ends it early.
    """

    def __init__(self, source: TreeSource) -> None:
        self._source = source
        self._entry_count = 0
        self._bytes_written = 0
        self._hooks = HookCensus()
        self._chunks = self._gathered()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Release all resources."""
        self._chunks.close()

    @property
    def report(self) -> SeedReport:
        """Return the report on the stream so far."""
        return report_on(self._source, self._entry_count, self._bytes_written, self._hooks.found())

    def _gathered(self) -> Generator[bytes]:
        pending = bytearray()
        with os_errors(f"read {self._source.name}"):
            for piece in self._pieces():
                pending += piece
                if len(pending) >= _CHUNK_BYTES:
                    yield bytes(pending)
                    pending.clear()
        yield bytes(pending)

    def _pieces(self) -> Generator[bytes | memoryview]:
        padding = b""
        for item in self._source.items():
            if not isinstance(item, Entry):
                self._hooks.data(item)
                self._bytes_written += len(item.data)
                yield item.data
                continue
            yield padding
            padding = b""
            self._hooks.begin(item)
            if item.path:
                self._entry_count += 1
            if item.kind is Kind.FILE and item.fd != NO_CONTENT:
                yield from self._file(item)
            else:
                yield _header(item)
                # The padding of a file whose content follows in pieces comes after them.
                padding = tar_writer.padding(data_bytes(item))
        yield padding + tar_writer.END

    def _file(self, entry: Entry) -> Generator[bytes]:
        """Yield the content of a file with a descriptor. It may have been truncated since its size was read."""
        if entry.segments is None and entry.size <= _CHUNK_BYTES:
            content = _read(entry.fd, entry.size, 0)
            yield _header(entry._replace(size=len(content)))
            yield content
            self._bytes_written += len(content)
            yield tar_writer.padding(len(content))
            return
        yield _header(entry)
        for offset, length in ((0, entry.size),) if entry.segments is None else entry.segments:
            done = 0
            while done < length:
                wanted = min(length - done, _CHUNK_BYTES)
                # The length must match the header, so a truncated file is padded with zeroes. The source notes the
                # change.
                content = _read(entry.fd, wanted, offset + done).ljust(wanted, b"\0")
                yield content
                done += wanted
            self._bytes_written += length
        yield tar_writer.padding(data_bytes(entry))


def _header(entry: Entry) -> bytes:
    match entry.kind:
        case Kind.DIRECTORY:
            return tar_writer.directory_header(entry.path, entry.mode, entry.mtime_ns)
        case Kind.SYMLINK:
            return tar_writer.symlink_header(entry.path, entry.target, entry.mtime_ns)
        case Kind.LINK:
            return tar_writer.link_header(entry.path, entry.target, entry.mode, entry.mtime_ns)
        case Kind.FILE if entry.segments is not None:
            return tar_writer.sparse_header(entry.path, entry.mode, entry.mtime_ns, entry.size, entry.segments)
        case Kind.FILE:
            return tar_writer.file_header(entry.path, entry.mode, entry.mtime_ns, entry.size)


def _read(fd: int, length: int, offset: int) -> bytes:
    content = os.pread(fd, length, offset)
    while len(content) < length and (more := os.pread(fd, length - len(content), offset + len(content))):
        content += more
    return content
