"""Seed a workspace: write a tree directly into its first disk.

An incomplete disk is never left behind, and the tree is copied nowhere else on the host: archives are not unpacked.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.errors import from_os_error, os_errors
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import NEW_FILE
from pyro_mcp.host.progress import Progress
from pyro_mcp.trees.entries import Entry, SeedRules, TreeMode, TreeSource
from pyro_mcp.trees.ext4.blank import make_blank
from pyro_mcp.trees.ext4.disk import Disk
from pyro_mcp.trees.hooks.census import HookCensus
from pyro_mcp.trees.report import SeedReport, report_on
from pyro_mcp.trees.source import open_seed

_NEWS_ENTRIES = 1000


def seed_disk(
    source: Path | TreeSource | None,
    disk_path: Path,
    size_bytes: int,
    progress: Progress,
    *,
    avoid: tuple[Path, ...] = (),
    rules: SeedRules | None = None,
) -> SeedReport:
    """Create the disk `disk_path`, a sparse file of `size_bytes` with an ext4 file system that contains the tree.

    The source is a directory, an archive (.tar, .tar.gz, .tgz), another source of a tree, or None for an empty disk.
    The directory of the disk, and those in `avoid`, are omitted if they are in the tree. On any failure the disk is
    removed. It is not synced. Only with `rules` is a git checkout treated as one; temporary files are created next to
    the disk.

    Raises:
        PyroError: NOT_FOUND, INVALID, PERMISSION, CORRUPT, UNSUPPORTED, each naming the path or member; NO_SPACE;
            CONFLICT if the disk already exists; MISSING_PROGRAM.
    """
    opened = open_seed(source, disk_path.parent, avoid=(*avoid, disk_path.parent), rules=rules)
    blank = make_blank(size_bytes)
    with os_errors(f"create the disk {disk_path}"):
        fd = os.open(disk_path, NEW_FILE, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        disk = Disk(fd, blank)
        report = SeedReport(TreeMode.EMPTY, None) if opened is None else _fill(disk, opened, progress)
        fault_point("seed.filled")
        disk.finish()
        fault_point("seed.finished")
    except BaseException as error:
        os.unlink(disk_path)
        if isinstance(error, OSError):
            raise from_os_error(error, f"write the workspace's disk {disk_path}") from error
        raise
    finally:
        os.close(fd)
    return report


def _fill(disk: Disk, source: TreeSource, progress: Progress) -> SeedReport:
    progress.phase("seed", source.name)
    hooks = HookCensus()
    news = 1
    for item in source.items():
        if isinstance(item, Entry):
            hooks.begin(item)
            disk.add(item)
            if disk.entry_count >= news:
                news += _NEWS_ENTRIES
                fault_point("seed.filling")
                progress.advance(None, f"{disk.entry_count} entries, {disk.bytes_written // 1024**2} MiB")
        else:
            hooks.data(item)
            disk.write(item)
    return report_on(source, disk.entry_count, disk.bytes_written, hooks.found())
