"""How much of what could be tried a run tries: a share, or with `PYRO_TEST_ALL=1` (`make test-all`) everything."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.one_verb import Verbs

ALL_VARIABLE = "PYRO_TEST_ALL"
SAMPLE_COUNT = 4
_SHARE = 5
_MIN_EXAMPLES = 12


def is_thorough() -> bool:
    """Say whether this run tries everything."""
    return os.environ.get(ALL_VARIABLE) == "1"


def examples(full: int) -> int:
    """Return how many of `full` generated examples a test tries."""
    return full if is_thorough() else min(full, max(_MIN_EXAMPLES, full // _SHARE))


def sampled(points: Sequence[str]) -> list[str]:
    """Return all of `points`, or a few: the first, the last, and some at equal distances between them."""
    count = min(SAMPLE_COUNT, len(points))
    if is_thorough() or count < 2:
        return list(points)
    return [points[index * (len(points) - 1) // (count - 1)] for index in range(count)]


def points_of(others: Verbs, tmp_path: Path, *arguments: str) -> list[str]:
    """Run the verb once and return `name:kill:hit` for every point it passes."""
    trace = tmp_path / "trace"
    trace.unlink(missing_ok=True)
    done = others.run(*arguments, PYRO_FAULT_TRACE=str(trace))
    assert done.status == 0, done.stderr
    seen: Counter[str] = Counter()
    points: list[str] = []
    for name in trace.read_text().split():
        seen[name] += 1
        points.append(f"{name}:kill:{seen[name]}")
    return points
