"""The differences between a workspace and its baseline, as values: entries, counts, and the whole diff."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.model.kinds import DiffChange

if TYPE_CHECKING:
    from pyro_mcp.trees.hooks.gate import HostHookNote
from pyro_mcp.workspace.files.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class SideFacts:
    """One side of an entry. `target` is that of a symbolic link, safe to print."""

    kind: str
    mode: int
    size_bytes: int
    target: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """One name that differs: its path below /workspace, safe to print, and its section of the patch.

    `reason` says why it is not in the patch; it is empty if it is. `ignored` means that a .gitignore names it;
    `moved_from` is the former path of an identical file.
    """

    path: str
    change: DiffChange
    old: SideFacts | None
    new: SideFacts | None
    added_lines: int = 0
    removed_lines: int = 0
    reason: str = ""
    ignored: bool = False
    moved_from: str | None = None
    section: bytes = b""

    @property
    def is_patched(self) -> bool:
        """Return whether the patch contains this change."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """How many names differ, by kind of change, and by whether the patch has them."""

    total: int
    added: int
    modified: int
    deleted: int
    type_changed: int
    text_patched: int
    held_back: int
    non_text: int


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """All differences. If `truncated`, some are not listed, but `counts.total` includes them.

    `missing` are the changes of the baseline's files that the patch does not have. Paths of the patch begin with
    `patch_prefix`, the seed's directory in its checkout. `host_hooks` are the first hundred changed files that a tool
    of the host would run automatically.
    """

    counts: ChangeCounts
    entries: tuple[FileChange, ...]
    patch: bytes
    truncated: bool
    host_hooks: tuple[HostHookNote, ...] = ()
    host_hook_count: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    patch_prefix: str = ""

    @property
    def missing(self) -> tuple[FileChange, ...]:
        """Return the changes of files of the baseline that are not in the patch; ignored ones come last."""
        found = [each for each in self.entries if each.reason and each.change is not DiffChange.ADDED]
        return tuple(sorted(found, key=lambda each: each.ignored))

    @property
    def changed(self) -> bool:
        """Return whether anything differs."""
        return self.counts.total > 0
