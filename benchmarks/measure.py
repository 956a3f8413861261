"""Take samples, summarise them and print them as a table. Targets are shown beside the figures, not enforced."""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_COLUMNS = ("what", "median", "p95", "n", "target")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the samples of one figure, in `unit`."""

    what: str
    samples: tuple[float, ...]
    unit: str = "ms"
    target: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """Return the median of the samples."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """Return the 95th percentile by nearest rank: of few samples, the largest."""
        ranked = sorted(self.samples)
        return ranked[min(len(ranked) - 1, int(0.95 * len(ranked)))]

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, one cell per column."""
        if not self.samples:
            return (self.what, self.note or "not measured", "", "0", self.target)
        return (self.what, self._figure(self.median), self._figure(self.p95), str(len(self.samples)), self.target)

    def to_json(self) -> dict[str, object]:
        """Return the row with all its samples."""
        return {
            "what": self.what,
            "unit": self.unit,
            "samples": list(self.samples),
            "median": self.median if self.samples else None,
            "p95": self.p95 if self.samples else None,
            "target": self.target,
            "note": self.note,
        }

    def _figure(self, value: float) -> str:
        return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {self.unit}"


@dataclass(slots=True)
class Stopwatch:
    """Collect durations of a repeated action, in milliseconds."""

    samples: list[float] = field(default_factory=list[float])

    @contextmanager
    def time(self) -> Generator[None]:
        """Time the block. A block that raises leaves no sample."""
        began = time.perf_counter()
        yield
        self.samples.append((time.perf_counter() - began) * 1000)

    def row(self, what: str, *, target: str = "") -> Row:
        """Return the collected samples as a row."""
        return Row(what, tuple(self.samples), target=target)


def repeat(what: str, action: Callable[[], object], *, times: int, target: str = "", warm_ups: int = 1) -> Row:
    """Time `action` `times` times, after untimed warm-ups."""
    for _ in range(warm_ups):
        action()
    gc.collect()
    watch = Stopwatch()
    for _ in range(times):
        with watch.time():
            action()
    return watch.row(what, target=target)


def table(rows: list[Row]) -> str:
    """Render the rows as a table that reads well in a terminal and in Markdown alike."""
    lines = [_COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    notes = [f"{row.what}: {row.note}" for row in rows if row.note and row.samples]
    return "\n".join([shown[0], rule, *shown[1:], *([""] if notes else []), *notes])
