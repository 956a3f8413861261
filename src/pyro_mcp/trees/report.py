"""The report on a tree that was copied into a workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.trees.entries import Note, TreeMode, TreeSource
    from pyro_mcp.trees.hooks.census import HostHook


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The report of a seed or push. `skipped` and `changed` have the first hundred; the counts include all.

    `ignored_count` and `ignored_bytes` describe the files omitted because of rules; `notes` are sentences about the
    whole tree. `host_hooks` are the tree's files that a host tool would run automatically, which an export may return.
    """

    mode: TreeMode
    seed_path: str | None
    entry_count: int = 0
    bytes_written: int = 0
    skipped: tuple[Note, ...] = ()
    skipped_count: int = 0
    changed: tuple[Note, ...] = ()
    changed_count: int = 0
    host_hooks: tuple[HostHook, ...] = ()
    ignored_count: int = 0
    ignored_bytes: int = 0
    largest_ignored: tuple[Note, ...] = ()
    notes: tuple[str, ...] = ()


def report_on(source: TreeSource, entry_count: int, bytes_written: int, hooks: tuple[HostHook, ...]) -> SeedReport:
    """Return the report on a source that was copied."""
    notes = source.notes
    return SeedReport(
        mode=source.mode,
        seed_path=source.name,
        entry_count=entry_count,
        bytes_written=bytes_written,
        skipped=notes.skipped,
        skipped_count=notes.skipped_count,
        changed=notes.changed,
        changed_count=notes.changed_count,
        host_hooks=hooks,
        ignored_count=notes.ignored_count,
        ignored_bytes=notes.ignored_bytes,
        largest_ignored=notes.largest_ignored,
        notes=tuple(notes.remarks),
    )
