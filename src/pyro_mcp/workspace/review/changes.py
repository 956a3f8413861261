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
    """The entry at a name on one side. `target` is a symbolic link's, as it may be printed."""

    kind: str
    mode: int
    size_bytes: int
    target: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """One name that differs: its path below /workspace, as it may be printed, and what stands in the patch of it.

    `reason` says why the patch does not have it; it is empty where the patch does. `ignored` says that a .gitignore
    names it, `moved_from` where a file was that is the same.
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
        """Say whether the patch brings this change."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """How many names differ, by what became of them, and by whether the patch has them."""

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
    """All that differs. With `truncated`, there is more than was listed, and `counts.total` counts that too.

    `missing` are those changes of files of the baseline that the patch does not have. Paths of the patch begin with
    `patch_prefix`, which is the seed's directory in its checkout. `host_hooks` are the first hundred changed files that
    a tool of the host would run by itself.
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
        """Say whether anything differs."""
        return self.counts.total > 0
