"""Decide which files that a host tool would run automatically may be exported, and record the decisions.

Only those in the baseline may, unless the user requests all.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyro_mcp.protocol.names import join, shown, shown_briefly
from pyro_mcp.trees.entries import MAX_NOTES, Kind
from pyro_mcp.trees.hooks.census import HostHook
from pyro_mcp.trees.hooks.home import home_rule_for
from pyro_mcp.trees.hooks.table import Rule, may_lead_to_hooks, rule_for

# More than any name in the table has.
_LANDING_PARTS = 5


class HostHookNote(NamedTuple):
    """A file that a host tool would run automatically: its printable name, the tool, and the decision."""

    name: str
    tool: str
    kept: bool
    is_instruction: bool = False


@dataclass(frozen=True, slots=True)
class HookPolicy:
    """Which files of the table in `hooks.table` may be exported.

    `inside` is the exported path relative to `/workspace` (empty for all of it), so that names can be compared with
    those of the baseline, which come from a `SeedReport`.
    """

    inside: bytes = b""
    baseline: Collection[tuple[str, str]] = ()
    include_all: bool = False
    # For callers other than the user in person: files that a host tool would run in a home directory are kept back too.
    is_strict: bool = False


class HookGate:
    """Applies the policy to one tree and one output path."""

    def __init__(self, policy: HookPolicy, output: Path | None = None) -> None:
        self._policy = policy
        self._baseline = frozenset(HostHook(*hook) for hook in policy.baseline)
        # The output path matters as well: a tree exported to `.vscode` is Visual Studio Code's settings.
        self._landing = b"/".join(os.fsencode(output or b"").split(b"/")[-_LANDING_PARTS:])
        # If the output path does not matter, only the names inside the tree decide.
        self._landing_matters = may_lead_to_hooks(self._landing)
        self._notes: list[HostHookNote] = []
        self.count = 0

    @property
    def notes(self) -> tuple[HostHookNote, ...]:
        """Return the first hundred files of the table that were found."""
        return tuple(self._notes)

    def rule(self, path: bytes, kind: Kind) -> Rule | None:
        """Return the rule that an entry matches, by its old or its new path."""
        landing = join(self._landing, path) if path else self._landing
        rule = rule_for(self._name(path), kind)
        if rule is None and (self._landing_matters or not path):
            rule = rule_for(landing, kind)
        if self._policy.is_strict and rule is None and kind is not Kind.DIRECTORY:
            rule = home_rule_for(self._name(path)) or home_rule_for(landing)
        return rule

    def admits(self, path: bytes, digest: str, rule: Rule) -> bool:
        """Return whether a file of the table may be exported, and record the decision."""
        name = self._name(path)
        was_there = HostHook(shown(name), digest) in self._baseline
        if rule.is_instruction and was_there:
            return True
        kept = was_there or rule.is_instruction or self._policy.include_all
        self.count += 1
        if len(self._notes) < MAX_NOTES:
            self._notes.append(HostHookNote(shown_briefly(path), rule.tool, kept, rule.is_instruction))
        return kept

    def _name(self, path: bytes) -> bytes:
        inside = self._policy.inside
        return join(inside, path) if path else inside
