"""A recipe: the calls of an agent, and what must be true of their results, whoever makes them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.support.sample_repo import FILES, make_repo
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Document = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A call; `{name}` in its arguments stands for what `keep` found in an earlier result.

    `shows` are regular expressions. Hosts show a model either the text of a result or its structure as JSON, so they
    must hold for both; `fact` makes one that does.
    """

    tool: str
    arguments: Document
    keep: Mapping[str, str] = field(default_factory=dict[str, str])
    shows: Sequence[str] = ()
    hides: Sequence[str] = ()

    def check(self, shown: str) -> None:
        """Check a result, as it was shown."""
        for pattern in self.shows:
            assert re.search(pattern, shown), f"{self.tool} {self.arguments}: no {pattern!r} in {shown}"
        for pattern in self.hides:
            assert not re.search(pattern, shown), f"{self.tool} {self.arguments}: {pattern!r} in {shown}"


@dataclass(frozen=True)
class Recipe:
    """A project, the options of `pyro mcp serve`, the steps, and what they leave.

    `exports` maps each path that the host has at the end to what its content must show. `left` is the number of
    workspaces that are still there.
    """

    name: str
    options: tuple[str, ...]
    steps: tuple[Step, ...]
    files: Mapping[str, str] = field(default_factory=lambda: FILES)
    exports: Mapping[str, str] = field(default_factory=dict[str, str])
    left: int = 1

    def project(self, place: Path) -> Path:
        """Make the checkout that an agent finds."""
        return make_repo(place, self.files)

    def check(self, shown: Sequence[str], checkout: Path) -> None:
        """Check the results of all steps, and that the host's checkout has nothing new but the exports."""
        assert len(shown) == len(self.steps), shown
        for step, text in zip(self.steps, shown, strict=True):
            step.check(text)
        for path, pattern in self.exports.items():
            assert re.search(pattern, (checkout / path).read_text(encoding="utf-8")), path
        changed = git("status", "--porcelain", "--untracked-files=all", cwd=checkout).stdout.decode().splitlines()
        assert {line.removeprefix("?? ") for line in changed} == set(self.exports)


def fact(name: str, value: object) -> str:
    """Return the pattern of a fact: `exit_code=0` and `exit_code: 0` in text, `"exit_code":0` in JSON."""
    told = json.dumps(value) if isinstance(value, bool | int) else re.escape(str(value))
    return rf'\b{name}"?\s?[:=]\s?"?{told}(?!\w)'


def keep(patterns: Mapping[str, str], shown: str, kept: dict[str, str]) -> None:
    """Add to `kept` what a result shows of `patterns`."""
    for name, pattern in patterns.items():
        if found := re.search(pattern, shown):
            kept[name] = found[1]


def filled(value: Any, kept: Mapping[str, str]) -> Any:
    """Return arguments with every `{name}` replaced by what was kept."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: kept.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {name: filled(each, kept) for name, each in cast("Document", value).items()}
    return value
