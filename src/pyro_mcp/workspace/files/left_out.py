"""Ignored names that a diff or an export left out, safe to print."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.agent.file_values import Ignored
from pyro_mcp.protocol.names import shown


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A name that was left out; a directory ends with a slash and stands for its content.

    `by_changed_rule`: the rule that ignores it is in the workspace or in the baseline, but not in both.
    """

    path: str
    by_changed_rule: bool


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The first hundred names that were left out, and the number of all."""

    ignored: tuple[IgnoredFile, ...] = ()
    ignored_count: int = 0
    changed_rule_count: int = 0


def left_out_of(found: Ignored) -> LeftOut:
    """Convert a guest's report of ignored names."""
    names = tuple(IgnoredFile(shown(each.path), each.by_one_only) for each in found.names)
    return LeftOut(names, found.count, found.by_one_count)
