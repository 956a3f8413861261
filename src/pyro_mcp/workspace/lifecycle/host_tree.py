"""Directories in place of disks, for a workspace whose commands run on the host itself.

No link of a seed is followed.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.errors import os_errors
from pyro_mcp.host import process
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import closing_fd, write_at
from pyro_mcp.host.progress import Progress
from pyro_mcp.trees.entries import NO_CONTENT, Data, Entry, Kind, SeedRules, TreeMode, TreeSource
from pyro_mcp.trees.hooks.census import HookCensus
from pyro_mcp.trees.report import SeedReport, report_on
from pyro_mcp.trees.source import open_seed
from pyro_mcp.trees.tree_writer import TreeWriter

_COPY_TIMEOUT_S = 3600.0
_NEWS_ENTRIES = 1000
_READ_BYTES = 1024 * 1024
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def lay_tree(
    source: Path | TreeSource | None,
    directory: Path,
    progress: Progress,
    *,
    avoid: tuple[Path, ...] = (),
    rules: SeedRules | None = None,
) -> SeedReport:
    """Write a tree (see `trees.seed.seed_disk`) into an empty directory.

    Raises:
        PyroError: what is wrong with the source, naming the path or the member; NO_SPACE, PERMISSION.
    """
    opened = open_seed(source, directory.parent, avoid=avoid, rules=rules)
    if opened is None:
        return SeedReport(TreeMode.EMPTY, None)
    progress.phase("seed", opened.name)
    hooks = HookCensus()
    with (
        os_errors(f"lay {opened.name} into {directory}"),
        closing_fd(os.open(directory, _OPEN_DIRECTORY)) as fd,
        TreeWriter(fd) as writer,
    ):
        laying = _Laying(writer, progress)
        for item in opened.items():
            if isinstance(item, Entry):
                hooks.begin(item)
                laying.add(item)
            else:
                hooks.data(item)
                laying.write(item)
        laying.end_file()
    return report_on(opened, laying.entry_count, laying.bytes_written, hooks.found())


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory's content into one that is empty or missing.

    Raises:
        PyroError: NO_SPACE and others.
    """
    process.run(
        ["cp", "-a", "--reflink=auto", "-T", "--", source, target],
        timeout_s=_COPY_TIMEOUT_S,
        env={"PATH": os.defpath, "LC_ALL": "C"},
    )
    fault_point("ws_host_tree.copied")


def sync_tree(tree: Path) -> None:
    """Sync the file system that holds `tree`: one call, whatever the size of the tree.

    Raises:
        PyroError: PROGRAM_FAILED, NO_SPACE.
    """
    process.run(["sync", "--file-system", tree], timeout_s=_COPY_TIMEOUT_S)


class _Laying:
    """Writes the entries of a tree into a directory."""

    def __init__(self, writer: TreeWriter, progress: Progress) -> None:
        self._writer = writer
        self._progress = progress
        self._made: set[bytes] = set()
        self._file: tuple[int, Entry] | None = None
        self.entry_count = 0
        self.bytes_written = 0

    def add(self, entry: Entry) -> None:
        self.end_file()
        if not entry.path or entry.path in self._made:
            # The directory itself, or a repeated directory entry; their owner has all permissions anyway.
            return
        self.entry_count += 1
        if self.entry_count % _NEWS_ENTRIES == 0:
            self._progress.advance(None, f"{self.entry_count} entries")
        match entry.kind:
            case Kind.DIRECTORY:
                self._made.add(entry.path)
                self._writer.make_directory(entry.path, entry.mode)
            case Kind.SYMLINK:
                self._writer.symlink(entry.path, entry.target)
            case Kind.LINK:
                self._writer.link(entry.target, entry.path)
            case Kind.FILE:
                self._file = (self._writer.create(entry.path), entry)
                if entry.fd != NO_CONTENT:
                    self._read(entry)

    def write(self, data: Data) -> None:
        if self._file is not None:
            self._put(data.data, data.offset)

    def end_file(self) -> None:
        if self._file is None:
            return
        (fd, entry), self._file = self._file, None
        try:
            self._writer.complete(fd, entry.size, entry.mode, entry.mtime_ns)
        finally:
            os.close(fd)

    def _read(self, entry: Entry) -> None:
        for offset, length in ((0, entry.size),) if entry.segments is None else entry.segments:
            position, end = offset, offset + length
            while position < end:
                data = os.pread(entry.fd, min(_READ_BYTES, end - position), position)
                if not data:
                    return
                self._put(memoryview(data), position)
                position += len(data)

    def _put(self, data: memoryview, offset: int) -> None:
        if self._file is None:
            return
        self.bytes_written += len(data)
        write_at(self._file[0], data, offset)
