"""Find the place of a hunk in a file.

A hunk is placed where its old lines match exactly. Correct line numbers decide between several such places; wrong ones
are harmless if there is only one. There is no fuzz, and no guessing between places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, takewhile

from pyro_mcp.patches.parts import Hunk
from pyro_mcp.patches.splicing import Image, Placement, ends_alike, unended
from pyro_mcp.patches.text import Haystack, normal

# How many places an error lists; one more is searched, to report "and more".
MAX_PLACES = 5


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A hunk fits in several places, given by line indices."""

    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The file already has the hunk's result, at a line index."""

    start: int


@dataclass(frozen=True, slots=True)
class Nowhere:
    """A hunk fits nowhere; `because` completes a sentence if the reason is already known."""

    because: str = ""


@dataclass(frozen=True, slots=True)
class Offsets:
    """How far the stated line numbers are off."""

    # The index of each line of the file, and of its end, in the image, if earlier hunks are already applied to it.
    moved: list[int] | None = None
    # The distance of the previous hunk from its stated line.
    drift: int = 0


def stated_start(hunk: Hunk, offsets: Offsets) -> int | None:
    """Return the line index that the hunk's header states, or None."""
    start = hunk.range.old_start
    if start is None:
        return None
    # With a count of zero, the header has the number of the preceding line.
    index = start if hunk.range.old_count == 0 and not hunk.old else start - 1
    index = max(0, index)
    if offsets.moved is None:
        return index
    last = len(offsets.moved) - 1
    return offsets.moved[min(index, last)] + max(0, index - last)


def place(image: Image, hunk: Hunk, offsets: Offsets) -> Placement | Ambiguous | AlreadyThere | Nowhere:
    """Find the only place where a hunk fits."""
    if not hunk.old:
        return _place_insertion(image, hunk, offsets)
    start = _choose(image, image.exact, hunk, hunk.old, offsets)
    other_ends = False
    if start is None and may_differ_in_line_ends(hunk):
        start = _choose(image, image.normal, hunk, normal(hunk.old), offsets)
        other_ends = True
    if start is None:
        return Nowhere()
    if isinstance(start, Ambiguous):
        return start
    haystack, new = (image.normal, normal(hunk.new)) if other_ends else (image.exact, hunk.new)
    return _already_there(haystack, hunk, new, start, stated_start(hunk, offsets)) or Placement(start, other_ends)


def may_differ_in_line_ends(hunk: Hunk) -> bool:
    """Return whether the hunk implies nothing about line ends, so that the file's can be kept."""
    return ends_alike(hunk) and unended(hunk.old) == unended(hunk.new)


def must_end_the_file(hunk: Hunk) -> bool:
    """Return whether the hunk must be at the end of the file."""
    return hunk.at_end or unended(hunk.old) or unended(hunk.new)


def _choose(image: Image, haystack: Haystack, hunk: Hunk, old: list[bytes], offsets: Offsets) -> int | Ambiguous | None:
    """Return the line index of the old lines, if it is unambiguous."""

    def fitting(starts: Iterable[int]) -> tuple[int, ...]:
        return tuple(start for start in starts if haystack.fits(old, start) and image.is_free(hunk, start))

    at_end = len(haystack.lines) - len(old)
    if must_end_the_file(hunk):
        ends = fitting([at_end])
        return ends[0] if ends else None
    stated = stated_start(hunk, offsets)
    if stated is not None:
        preferred = fitting(sorted({stated, stated + offsets.drift}))
        # Git assumes that a hunk without lines after its change is at the end of the file: the header must agree.
        if preferred and hunk.leading and not hunk.trailing:
            preferred = tuple(sorted({*preferred, *fitting([at_end])}))
        if preferred:
            return preferred[0] if len(preferred) == 1 else Ambiguous(preferred)
    free = (start for start in haystack.places(old) if image.is_free(hunk, start))
    found = tuple(islice(free, MAX_PLACES + 1))
    if len(found) > 1 and (block := _block(image, hunk.headings)):
        inside = fitting(start for start in haystack.places(old, block.start) if start in block)
        found = inside or found
    if not found:
        return None
    return found[0] if len(found) == 1 else Ambiguous(found)


def _block(image: Image, headings: tuple[bytes, ...]) -> range | None:
    """Return the lines below a hunk's headings that are indented more than the last, if one place has them."""
    lines = image.lines
    at = -1
    for depth, heading in enumerate(headings):
        image.spend_on_lines()
        matches = [i for i in range(at + 1, len(lines)) if lines[i].strip() == heading]
        matches = matches or [i for i in range(at + 1, len(lines)) if lines[i].strip().startswith(heading)]
        # An inner heading is the first match below the outer one; the outermost must be unique.
        if not matches or (depth == 0 and len(matches) > 1):
            return None
        at = matches[0]
    if at < 0:
        return None
    indent = _indent(lines[at])
    end = at + 1
    # A line that only opens or closes brackets still belongs to the preceding heading.
    while end < len(lines) and (_indent(lines[end]) > indent or lines[end].strip()[:1] in {b"", b"{", b")"}):
        end += 1
    return range(at, end)


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" \t"))


def _already_there(
    haystack: Haystack, hunk: Hunk, new: list[bytes], start: int, stated: int | None
) -> AlreadyThere | None:
    """Detect lines that would be inserted a second time: the file already has the new lines around the old ones.

    If the header states this place, and unchanged lines on both sides or on neither match as well, this is a regular
    diff that repeats a line. Diff omits one side only at the ends of a file.
    """
    marks = [mark for mark, _ in hunk.lines]
    by_diff = bool(hunk.leading) == bool(hunk.trailing) and (hunk.leading or " " not in marks)
    if len(new) <= len(hunk.old) or (by_diff and start == stated):
        return None
    # Align the new lines so that their first (or last) unchanged line is where it was found.
    first = start - sum(1 for _ in takewhile(lambda mark: mark == "+", marks))
    last = start + len(hunk.old) + sum(1 for _ in takewhile(lambda mark: mark == "+", reversed(marks))) - len(new)
    for there in (first, last):
        if haystack.fits(new, there):
            return AlreadyThere(there)
    return None


def _place_insertion(image: Image, hunk: Hunk, offsets: Offsets) -> Placement | Nowhere:
    """Find the place of a hunk that has only added lines, which only its header can tell."""
    count = len(image.lines)
    if not count or hunk.at_end:
        start = count
    else:
        stated = stated_start(hunk, offsets)
        if stated is None or hunk.range.old_count != 0:
            return Nowhere(
                "it has added lines only, and its header does not say after which line they go, as -3,0 does"
            )
        if offsets.moved is not None:
            return Nowhere("it has added lines only, and earlier hunks build upon each other")
        if offsets.drift:
            return Nowhere("it has added lines only, and the hunk before was not at the line that its header states")
        new_start = hunk.range.new_start
        # After line 5 means as line 6; the lines added by earlier hunks may or may not be counted.
        if new_start is not None and hunk.range.old_start is not None and not _agree(hunk, new_start, image.grown):
            return Nowhere(
                f"it has added lines only, and its header says both after line {hunk.range.old_start}"
                f" and as line {new_start}"
            )
        start = stated
    if start > count:
        return Nowhere(f"its lines go after line {start}, but the file has only {count}")
    # If the last line has no newline, it is replaced by the same line with one.
    taken = start == count and unended(image.lines) and bool(image.edits) and image.edits[-1].end == count
    if taken or not image.is_free(hunk, start):
        return Nowhere("an earlier hunk has changed the place where its lines go")
    return Placement(start)


def _agree(hunk: Hunk, new_start: int, grown: int) -> bool:
    after = (hunk.range.old_start or 0) + 1
    return new_start in {after, after + grown}
