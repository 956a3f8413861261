"""The ignored names that a diff or an export left out, as they may be printed."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.agent.file_values import Ignored
from pyro_mcp.protocol.names import shown


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A name that was left out; a directory ends with a slash, and stands for all in it.

    `by_changed_rule` says that only one of workspace and baseline has a rule that hides it.
    """

    path: str
    by_changed_rule: bool


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The first hundred of those names, and how many there are."""

    ignored: tuple[IgnoredFile, ...] = ()
    ignored_count: int = 0
    changed_rule_count: int = 0


def left_out_of(found: Ignored) -> LeftOut:
    """Return what a guest says it left out."""
    names = tuple(IgnoredFile(shown(each.path), each.by_one_only) for each in found.names)
    return LeftOut(names, found.count, found.by_one_count)
