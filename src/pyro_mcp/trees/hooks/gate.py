"""Decide which of the files that a host tool would run by itself may be exported, and list the decisions.

Only those in the baseline may, unless the user asks for all.
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
    """A file that a tool of the host would run by itself: its name as it may be printed, who would, what was done."""

    name: str
    tool: str
    kept: bool
    is_instruction: bool = False


@dataclass(frozen=True, slots=True)
class HookPolicy:
    """Which files of the table in `hooks.table` may come out.

    `inside` is what is exported, relative to `/workspace` (empty for all of it), so that names can be compared with
    those of the baseline, which are those of a `SeedReport`.
    """

    inside: bytes = b""
    baseline: Collection[tuple[str, str]] = ()
    include_all: bool = False
    # For a caller who is not the person at the machine: what a host tool would run in a home directory stays, too.
    is_strict: bool = False


class HookGate:
    """The policy, applied to one tree on its way to one place."""

    def __init__(self, policy: HookPolicy, output: Path | None = None) -> None:
        self._policy = policy
        self._baseline = frozenset(HostHook(*hook) for hook in policy.baseline)
        # A tree that is exported to `.vscode` lands there, whatever it was called in the workspace.
        self._landing = b"/".join(os.fsencode(output or b"").split(b"/")[-_LANDING_PARTS:])
        # Where it does not, a name is of the table by itself or not at all.
        self._landing_matters = may_lead_to_hooks(self._landing)
        self._notes: list[HostHookNote] = []
        self.count = 0

    @property
    def notes(self) -> tuple[HostHookNote, ...]:
        """Return the first hundred files of the table that were met."""
        return tuple(self._notes)

    def rule(self, path: bytes, kind: Kind) -> Rule | None:
        """Return the rule that an entry falls under, where it was or where it goes."""
        landing = join(self._landing, path) if path else self._landing
        rule = rule_for(self._name(path), kind)
        if rule is None and (self._landing_matters or not path):
            rule = rule_for(landing, kind)
        if self._policy.is_strict and rule is None and kind is not Kind.DIRECTORY:
            rule = home_rule_for(self._name(path)) or home_rule_for(landing)
        return rule

    def admits(self, path: bytes, digest: str, rule: Rule) -> bool:
        """Say whether a file of the table may come out, and note it."""
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
