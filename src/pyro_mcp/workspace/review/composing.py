"""Compose a diff from a guest's listing of two trees: entries, counts, and one patch.

Changes are derived from the two sides; how the guest classifies them is not used. `git apply` of the patch turns the
seeded tree into the current one, as far as git records trees: directories and permissions other than the executable bit
are only listed. Changes of the baseline's files come first in the patch, and get its space first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_mcp.agent.file_values import ContentForm, DiffEntry, DiffSide, TreeDiff
from pyro_mcp.model.kinds import DiffChange, FileKind
from pyro_mcp.protocol.names import shown
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.workspace.files.left_out import left_out_of
from pyro_mcp.workspace.review import git_patch
from pyro_mcp.workspace.review.changes import ChangeCounts, FileChange, SideFacts, TreeChanges
from pyro_mcp.workspace.review.host_hooks import PatchHooks
from pyro_mcp.workspace.review.hunks import Hunks, compare, compare_part

# Of the patch; the guest limits the content that goes into it.
MAX_PATCH_BYTES = 16 * 1024 * 1024
_REASONS = {ContentForm.NO_ROOM: "too large for this patch", ContentForm.NOT_TEXT: "binary"}
_APART = "moved, and the other path is not in this patch"
_FULL = "this patch has reached its maximum size"
_GITS_OWN = "git's own, which git apply does not touch"
_CONCEALED = "binary, and contains the value of a secret"
_NOTHING = Hunks(b"", 0, 0)


@dataclass(frozen=True, slots=True)
class Composition:
    """Options of a patch.

    Paths in it begin with `prefix`. `is_secret` returns whether bytes contain a secret value: such binary content is
    left out, since it can't be redacted.
    """

    policy: HookPolicy
    prefix: bytes = b""
    max_patch_bytes: int = MAX_PATCH_BYTES
    is_secret: Callable[[bytes], bool] | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """One entry: git's modes of its sides, and its path in the patch or why the patch can't contain it."""

    entry: DiffEntry
    path: bytes = b""
    old: str | None = None
    new: str | None = None
    reason: str = ""
    is_held_back: bool = False
    # Of a moved file, the draft of the other path.
    partner: _Draft | None = None

    @property
    def is_replaced(self) -> bool:
        """Return whether a file became a link or a link a file: for git, a deletion and a creation."""
        both = (self.old, self.new)
        return None not in both and both.count(git_patch.SYMLINK) == 1

    @property
    def is_binary(self) -> bool:
        """Return whether it is a change of binary content."""
        return self.entry.form is ContentForm.BINARY

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return the texts to compare."""
        if self.reason or self.is_binary or self.partner is not None or (self.old is None and self.new is None):
            return []
        if self.entry.form is ContentForm.PARTS:
            return [(part.old, part.new) for part in self.entry.parts]
        old, new = self.contents()
        return [(old, b""), (b"", new)] if self.is_replaced else [(old, new)]

    def contents(self) -> tuple[bytes, bytes]:
        """Return both contents; the content of a link is its target."""
        part = self.entry.parts[0] if self.entry.parts else None
        old, new = (part.old, part.new) if part else (b"", b"")
        targets = [side.link_target if side else None for side in (self.entry.old, self.entry.new)]
        return (old if targets[0] is None else targets[0], new if targets[1] is None else targets[1])

    def hunks(self, compared: Iterator[Hunks]) -> list[Hunks]:
        """Return the hunks of its sections, taking those of its texts from `compared`."""
        found = [next(compared) for _ in self.pairs()]
        if self.entry.form is not ContentForm.PARTS or not found:
            return found or [_NOTHING]
        placed = [
            compare_part(part.old, part.new, each, part.old_line, part.new_line)
            for part, each in zip(self.entry.parts, found, strict=True)
        ]
        added, removed = sum(each.added for each in placed), sum(each.removed for each in placed)
        return [Hunks(b"".join(each.data for each in placed), added, removed)]

    def section(self, hunks: list[Hunks]) -> bytes:
        """Return its section of the patch; empty if git sees no difference."""
        if self.reason or (self.old is None and self.new is None):
            return b""
        if self.partner is not None:
            target = self.partner
            # The section belongs to the deleted path: deletions come first.
            return git_patch.rename(self.path, target.path, self.old, target.new or "") if self.old else b""
        data, index = [each.data for each in hunks], ""
        if self.is_binary:
            old, new = self.contents()
            if self.is_replaced:
                return b"".join(self._binary_replacement(old, new))
            data, index = (
                [git_patch.binary_hunks(old, new)],
                git_patch.index_line(None if self.old is None else old, None if self.new is None else new),
            )
        if self.old is None:
            return git_patch.creation(self.path, self.new or "", data[0], index)
        if self.new is None:
            return git_patch.deletion(self.path, self.old, data[0], index)
        if self.is_replaced:
            return git_patch.deletion(self.path, self.old, data[0]) + git_patch.creation(self.path, self.new, data[1])
        return git_patch.modification(self.path, self.old, self.new, data[0], index)

    def _binary_replacement(self, old: bytes, new: bytes) -> Iterator[bytes]:
        hunks, back = git_patch.binary_hunks(old, b""), git_patch.binary_hunks(b"", new)
        yield git_patch.deletion(self.path, self.old or "", hunks, git_patch.index_line(old, None))
        yield git_patch.creation(self.path, self.new or "", back, git_patch.index_line(None, new))


def compose(tree: TreeDiff, scratch: Path, how: Composition | None = None) -> TreeChanges:
    """Compose the diff. `scratch` is a private directory for temporary copies of the texts.

    Without a policy, no file of the hook table counts as one of the baseline.

    Raises:
        PyroError: MISSING_PROGRAM, NO_SPACE, PERMISSION.
    """
    how = how or Composition(HookPolicy())
    hooks = PatchHooks(tree.entries, how.policy)
    drafted = [_drafted(entry, hooks, how) for entry in _without_implied(tree.entries)]
    drafts = sorted(_with_partners(drafted), key=_rank)
    compared = iter(compare([pair for draft in drafts for pair in draft.pairs()], scratch))
    composed = [(draft, hunks, draft.section(hunks)) for draft in drafts for hunks in [draft.hunks(compared)]]
    fitting = _fitting(composed, how.max_patch_bytes)
    changes: list[FileChange] = []
    for draft, hunks, section in composed:
        fits = {draft.entry.path, *([draft.partner.entry.path] if draft.partner else [])} <= fitting
        reason = draft.reason or _why_not(draft, section, fits=fits)
        changes.append(_file_change(draft, hunks, section, reason))
    return TreeChanges(
        counts=_counted(changes, tree, sum(draft.is_held_back for draft in drafts)),
        entries=tuple(sorted(changes, key=lambda each: each.path)),
        patch=b"".join(each.section for each in changes),
        truncated=tree.truncated,
        host_hooks=hooks.notes,
        host_hook_count=hooks.count,
        left_out=left_out_of(tree.ignored),
        patch_prefix=shown(how.prefix),
    )


def _rank(draft: _Draft) -> tuple[int, bytes]:
    entry = draft.entry
    return 2 * (entry.change is DiffChange.ADDED) + entry.is_ignored, entry.path


def _drafted(entry: DiffEntry, hooks: PatchHooks, how: Composition) -> _Draft:
    sides = [side for side in (entry.old, entry.new) if side is not None]
    is_link = any(side.kind is FileKind.LINK for side in sides)
    if git_patch.is_gits_own(entry.path, is_link=is_link):
        return _Draft(entry, reason=_GITS_OWN)
    if reason := hooks.reason(entry):
        return _Draft(entry, reason=reason, is_held_back=True)
    if any(side.kind is FileKind.OTHER for side in sides):
        return _Draft(entry, reason="a special file")
    if any(side.kind is FileKind.FILE for side in sides) and entry.form in _REASONS:
        return _Draft(entry, reason=_REASONS[entry.form])
    if entry.form is ContentForm.BINARY and how.is_secret is not None:
        part = entry.parts[0]
        if how.is_secret(part.old) or how.is_secret(part.new):
            return _Draft(entry, reason=_CONCEALED)
    return _Draft(entry, how.prefix + entry.path, _mode(entry.old), _mode(entry.new))


def _with_partners(drafts: list[_Draft]) -> list[_Draft]:
    """Pair the drafts of moved files. A draft without a partner in the patch can't be in it either."""
    by_path = {draft.entry.path: draft for draft in drafts if draft.entry.form is ContentForm.MOVED}
    partners: dict[bytes, _Draft] = {}
    for path, draft in by_path.items():
        source = by_path.get(draft.entry.moved_from or b"")
        if source is not None and source.entry.new is None and source.entry.path not in partners:
            partners[path], partners[source.entry.path] = source, draft
    found: list[_Draft] = []
    for draft in drafts:
        partner = partners.get(draft.entry.path)
        if draft.entry.form is not ContentForm.MOVED or draft.reason:
            found.append(draft)
        elif partner is None or partner.reason:
            found.append(replace(draft, reason=_APART))
        else:
            found.append(replace(draft, partner=partner))
    return found


def _mode(side: DiffSide | None) -> str | None:
    """Return git's mode of a side, None if there is nothing."""
    if side is None or side.kind is FileKind.DIRECTORY:
        return None
    return git_patch.SYMLINK if side.kind is FileKind.LINK else git_patch.file_mode(side.mode)


def _fitting(composed: list[tuple[_Draft, list[Hunks], bytes]], room: int) -> set[bytes]:
    """Return the paths that the patch has room for: the baseline's files first, and small ones before large ones."""
    fitting: set[bytes] = set()
    for draft, _, section in sorted(composed, key=lambda each: (_rank(each[0])[0], len(each[2]))):
        if len(section) <= room:
            room -= len(section)
            fitting.add(draft.entry.path)
    return fitting


def _why_not(draft: _Draft, section: bytes, *, fits: bool) -> str:
    if not fits:
        return _FULL
    if section or draft.partner is not None:
        return ""
    if draft.old is None and draft.new is None:
        return "a directory"
    return "permissions that git does not record"


def _without_implied(entries: tuple[DiffEntry, ...]) -> list[DiffEntry]:
    """Leave out directories that were added or deleted with their content: the content is listed."""
    above: set[bytes] = set()
    for entry in entries:
        path = entry.path
        while (at := path.rfind(b"/")) >= 0 and (path := path[:at]) not in above:
            above.add(path)
    kept: list[DiffEntry] = []
    for entry in entries:
        old, new = entry.old, entry.new
        only = new if old is None else old if new is None else None
        if only is None or only.kind is not FileKind.DIRECTORY or entry.path not in above:
            kept.append(entry)
    return kept


def _file_change(draft: _Draft, hunks: list[Hunks], section: bytes, reason: str) -> FileChange:
    return FileChange(
        path=shown(draft.entry.path) or ".",
        change=draft.entry.change,
        old=_facts(draft.entry.old),
        new=_facts(draft.entry.new),
        added_lines=sum(each.added for each in hunks),
        removed_lines=sum(each.removed for each in hunks),
        reason=reason,
        ignored=draft.entry.is_ignored,
        moved_from=None if draft.entry.moved_from is None else shown(draft.entry.moved_from),
        section=b"" if reason else section,
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
