"""Apply all hunks of one file to its content.

Each hunk is placed in the result of the previous ones. If any does not fit, all failures are reported and there is no
result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyro_mcp.errors import PyroError
from pyro_mcp.patches.diagnosing import Diagnosis
from pyro_mcp.patches.failures import MAX_LISTED_FAILURES, named
from pyro_mcp.patches.parts import Hunk
from pyro_mcp.patches.placing import Ambiguous, Nowhere, Offsets, place, stated_start
from pyro_mcp.patches.splicing import Image, Placement, image_of
from pyro_mcp.patches.text import Budget


@dataclass(frozen=True, slots=True)
class Applied:
    """A file's new content with notes on how the patch was applied, or the reasons why it does not apply."""

    data: bytes
    notes: tuple[str, ...]
    failures: tuple[PyroError, ...]


def apply_hunks(path: str, data: bytes, hunks: Sequence[Hunk], budget: Budget) -> Applied:
    """Apply all hunks to a file's content."""
    image = image_of(data, budget)
    offsets = Offsets()
    notes: list[str] = []
    failures: list[PyroError] = []
    diagnosis = Diagnosis(path, image)
    for hunk in hunks:
        outcome = place(image, hunk, offsets)
        if isinstance(outcome, Nowhere) and not outcome.because and image.edits:
            later, later_offsets = _with_edits_made(image, offsets)
            again = place(later, hunk, later_offsets)
            if isinstance(again, (Placement, Ambiguous)):
                image, offsets, outcome = later, later_offsets, again
                diagnosis = Diagnosis(path, image)
        if isinstance(outcome, Placement):
            offsets = _drifted(hunk, offsets, outcome)
            notes += _notes(path, hunk, image, offsets, outcome)
            image.put(hunk, outcome)
            continue
        failures.append(diagnosis.describe(hunk, offsets, outcome))
        if len(failures) == MAX_LISTED_FAILURES:
            break
    return Applied(b"" if failures else b"".join(image.applied()), tuple(notes), tuple(failures))


def _with_edits_made(image: Image, offsets: Offsets) -> tuple[Image, Offsets]:
    """Return the file with the previous hunks applied, for a hunk that depends on them."""
    image.spend_on_lines()
    moved = image.moved()
    if offsets.moved is not None:
        moved = [moved[index] for index in offsets.moved]
    return Image(image.applied(), image.budget), Offsets(moved, offsets.drift)


def _drifted(hunk: Hunk, offsets: Offsets, placement: Placement) -> Offsets:
    stated = stated_start(hunk, offsets)
    if stated is None or not hunk.old:
        return offsets
    return Offsets(offsets.moved, placement.start - stated)


def _notes(path: str, hunk: Hunk, image: Image, offsets: Offsets, placement: Placement) -> list[str]:
    """Return notes on where the patch was not applied literally."""
    said = f"{named(path)}: hunk {hunk.number}"
    notes: list[str] = []
    if hunk.miscounted:
        stated = f"{hunk.range.old_count} and {hunk.range.new_count}"
        notes.append(f"{said} has {len(hunk.old)} old and {len(hunk.new)} new lines; its header says {stated}")
    if hunk.old and hunk.range.old_start is not None and offsets.drift:
        notes.append(
            f"{said} was found at line {placement.start + 1}, {abs(offsets.drift)} lines from its stated place"
        )
    if placement.other_ends:
        kind = "CRLF" if image.all_crlf else "own"
        notes.append(f"{said} was given the file's {kind} line ends")
    return notes
