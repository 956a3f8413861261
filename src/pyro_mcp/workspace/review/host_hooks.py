"""Leave files out of a patch that a tool of the host would run automatically, by the same rules as export."""

from __future__ import annotations

from pyro_mcp.agent.file_values import ContentForm, DiffEntry, DiffSide
from pyro_mcp.trees.entries import Kind
from pyro_mcp.trees.hooks.census import Digest, symlink_digest
from pyro_mcp.trees.hooks.gate import HookGate, HookPolicy, HostHookNote
from pyro_mcp.trees.hooks.table import Repositories, Rule, rule_for, rule_in_repository


class PatchHooks:
    """The policy for files of the hook table, applied to the changes of one diff."""

    def __init__(self, entries: tuple[DiffEntry, ...], policy: HookPolicy) -> None:
        self._gate = HookGate(policy)
        self._repositories = _repositories(entries, policy)

    @property
    def notes(self) -> tuple[HostHookNote, ...]:
        """Return the first hundred matching files, those left out before the others."""
        return tuple(sorted(self._gate.notes, key=lambda note: note.kept))

    @property
    def count(self) -> int:
        """Return the number of matching files."""
        return self._gate.count

    def reason(self, entry: DiffEntry) -> str:
        """Return why a change is left out of the patch, or an empty string. A deleted file can't run."""
        new = entry.new
        if new is None:
            return ""
        kind = {"file": Kind.FILE, "symlink": Kind.SYMLINK}.get(new.kind.value)
        rule = None if kind is None else rule_for(entry.path, kind) or self._rule_in_repository(entry.path)
        if rule is None or (digest := _digest(entry, new, rule)) is None or self._gate.admits(entry.path, digest, rule):
            return ""
        return f"{rule.tool} would run it on the host automatically"

    def _rule_in_repository(self, path: bytes) -> Rule | None:
        for directory in self._repositories:
            prefix = directory + b"/" if directory else b""
            if path.startswith(prefix) and (rule := rule_in_repository(path[len(prefix) :])):
                return rule
        return None


def _repositories(entries: tuple[DiffEntry, ...], policy: HookPolicy) -> list[bytes]:
    """Return the directories that git regards as repositories: new ones, and those of the baseline."""
    found = Repositories()
    for entry in entries:
        # Directories with content have no entry of their own.
        path = entry.path if entry.new is not None else b""
        while path:
            found.see(path)
            path = path.rpartition(b"/")[0]
    # The census has the configuration of each. A name that can't be printed is not one that anyone uses.
    known = {path.rpartition("/")[0].encode() for path, _ in policy.baseline if path.endswith("/config")}
    return [*found.found(), *known]


def _digest(entry: DiffEntry, new: DiffSide, rule: Rule) -> str | None:
    """Return a file's digest, or None if its content takes it out of the hook table."""
    if new.link_target is not None:
        return symlink_digest(new.link_target)
    if entry.form not in {ContentForm.WHOLE, ContentForm.BINARY}:
        # The content is incomplete.
        return "unknown"
    content = b"".join(part.new for part in entry.parts)
    digest = Digest(rule)
    digest.add(0, content)
    found = digest.finish(len(content), new.mode)
    return found if digest.is_hook else None
