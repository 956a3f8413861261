"""Compose a diff from a guest's listing of two trees: entries, counts, and one patch.

The guest's own idea of a change is not used: it is derived from the two sides. By `git apply` the patch turns the tree
that was seeded into the tree that is there, as far as git knows trees: directories, permissions other than the
executable bit and non-text content are in the list only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.model.kinds import DiffChange
from pyro_mcp.protocol.names import shown
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.workspace.review import git_patch
from pyro_mcp.workspace.review.changes import ChangeCounts, FileChange, SideFacts, TreeChanges
from pyro_mcp.workspace.review.git_patch import SYMLINK, Blob
from pyro_mcp.workspace.review.host_hooks import PatchHooks
from pyro_mcp.workspace.review.hunks import Hunks, compare

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.agent.file_values import DiffEntry, DiffSide, TreeDiff

# Of the patch; the guest's side bounds what goes into it.
MAX_PATCH_BYTES = 16 * 1024 * 1024
_FULL = "the patch has reached its largest size"
_NOT_TEXT = "not text"
_GITS_OWN = "git's own, which git apply does not touch"
_NOT_SENT = "not text, or too large for the patch"
_NOTHING = Hunks(b"", 0, 0)
_DIRECTORY, _FILE, _LINK = "directory", "file", "symlink"


@dataclass(frozen=True, slots=True)
class _Draft:
    """One entry: what git knows of its sides, or why the patch can't have it."""

    entry: DiffEntry
    old: Blob | None = None
    new: Blob | None = None
    reason: str = ""
    is_held_back: bool = False

    @property
    def is_replaced(self) -> bool:
        """Say whether a file became a link or a link a file: for git, one went and one came."""
        return self.old is not None and self.new is not None and self.old.is_link != self.new.is_link

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return the texts to compare."""
        old, new = (b"" if blob is None else blob.data for blob in (self.old, self.new))
        return [(old, b""), (b"", new)] if self.is_replaced else [(old, new)]

    def section(self, hunks: list[Hunks]) -> bytes:
        """Return what stands in the patch of it; empty if git sees no difference."""
        path = self.entry.path
        if self.old is None and self.new is None:
            return b""
        if self.old is None:
            return git_patch.creation(path, self.new, hunks[0].data) if self.new else b""
        if self.new is None:
            return git_patch.deletion(path, self.old, hunks[0].data)
        if self.is_replaced:
            gone = git_patch.deletion(path, self.old, hunks[0].data)
            return gone + git_patch.creation(path, self.new, hunks[1].data)
        return git_patch.modification(path, self.old.mode, self.new.mode, hunks[0].data)


def compose(tree: TreeDiff, scratch: Path, policy: HookPolicy | None = None) -> TreeChanges:
    """Make the diff. `scratch` is a directory of the product's in which texts may stand meanwhile.

    Without a policy, no file of the hook table counts as one of the baseline.

    Raises:
        PyroError: MISSING_PROGRAM, NO_SPACE, PERMISSION.
    """
    hooks = PatchHooks(tree.entries, policy or HookPolicy())
    drafts = [_drafted(entry, hooks) for entry in _without_implied(tree.entries)]
    pairs: list[tuple[bytes, bytes]] = []
    for draft in drafts:
        pairs += [] if draft.reason else draft.pairs()
    compared = iter(compare(pairs, scratch))
    changes: list[FileChange] = []
    sections: list[bytes] = []
    composed = [(draft, [] if draft.reason else [next(compared) for _ in draft.pairs()]) for draft in drafts]
    fitting = _fitting(composed)
    for draft, own in composed:
        section = draft.section(own)
        reason = draft.reason or _why_not(draft, section, fits=draft.entry.path in fitting)
        if not reason:
            sections.append(section)
        changes.append(_told(draft, [] if reason else own, reason))
    patch = b"".join(sections).decode()
    held_back = sum(draft.is_held_back for draft in drafts)
    return TreeChanges(
        _counted(changes, tree, held_back), tuple(changes), patch, tree.truncated, hooks.notes, hooks.count
    )


def _drafted(entry: DiffEntry, hooks: PatchHooks) -> _Draft:
    is_link = any(side is not None and side.kind.value == _LINK for side in (entry.old, entry.new))
    if git_patch.is_gits_own(entry.path, is_link=is_link):
        return _Draft(entry, reason=_GITS_OWN)
    if reason := hooks.reason(entry):
        return _Draft(entry, reason=reason, is_held_back=True)
    sides: list[Blob | None] = []
    for side in (entry.old, entry.new):
        found = _blob(side)
        if isinstance(found, str):
            return _Draft(entry, reason=found)
        sides.append(found)
    return _Draft(entry, sides[0], sides[1])


def _blob(side: DiffSide | None) -> Blob | str | None:
    """Return what git knows of a side, None for nothing, or why it can't be in a text."""
    if side is None or side.kind.value == _DIRECTORY:
        return None
    if side.kind.value == _LINK:
        data = side.link_target
        mode = SYMLINK
    elif side.kind.value == _FILE:
        data = side.content
        mode = git_patch.file_mode(side.mode)
    else:
        return "a special file"
    if data is None:
        return _NOT_SENT
    return Blob(mode, data) if _is_text(data) else _NOT_TEXT


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fitting(composed: list[tuple[_Draft, list[Hunks]]]) -> set[bytes]:
    """Return the paths that the patch has room for: what the project had before what was added to it."""
    room = MAX_PATCH_BYTES
    fitting: set[bytes] = set()
    for draft, hunks in sorted(composed, key=lambda each: each[0].entry.change is DiffChange.ADDED):
        length = 0 if draft.reason else len(draft.section(hunks))
        if length <= room:
            room -= length
            fitting.add(draft.entry.path)
    return fitting


def _why_not(draft: _Draft, section: bytes, *, fits: bool) -> str:
    if not fits:
        return _FULL
    if section:
        return ""
    if draft.old is None and draft.new is None:
        return "a directory"
    return "permissions that git does not record"


def _without_implied(entries: tuple[DiffEntry, ...]) -> list[DiffEntry]:
    """Leave out directories that came or went with something in them: that is listed."""
    above: set[bytes] = set()
    for entry in entries:
        path = entry.path
        while (at := path.rfind(b"/")) >= 0 and (path := path[:at]) not in above:
            above.add(path)
    kept: list[DiffEntry] = []
    for entry in entries:
        old, new = entry.old, entry.new
        only = new if old is None else old if new is None else None
        if only is None or only.kind.value != _DIRECTORY or entry.path not in above:
            kept.append(entry)
    return kept


def _told(draft: _Draft, hunks: list[Hunks], reason: str) -> FileChange:
    return FileChange(
        path=shown(draft.entry.path) or ".",
        change=draft.entry.change,
        old=_facts(draft.entry.old),
        new=_facts(draft.entry.new),
        added_lines=sum(each.added for each in hunks),
        removed_lines=sum(each.removed for each in hunks),
        reason=reason,
    )


def _facts(side: DiffSide | None) -> SideFacts | None:
    if side is None:
        return None
    target = None if side.link_target is None else shown(side.link_target)
    return SideFacts(side.kind.value, side.mode, side.size_bytes, target)


def _counted(changes: list[FileChange], tree: TreeDiff, held_back: int) -> ChangeCounts:
    by_change = Counter(each.change for each in changes)
    patched = sum(each.is_patched for each in changes)
    return ChangeCounts(
        total=max(tree.total, len(changes)) if tree.truncated else len(changes),
        added=by_change[DiffChange.ADDED],
        modified=by_change[DiffChange.MODIFIED],
        deleted=by_change[DiffChange.DELETED],
        type_changed=by_change[DiffChange.TYPE_CHANGED],
        text_patched=patched,
        held_back=held_back,
        non_text=len(changes) - patched - held_back,
    )
