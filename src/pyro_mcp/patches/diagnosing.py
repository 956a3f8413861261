"""Diagnose a hunk that does not fit: the expected lines, the actual lines, and the remedy.

It distinguishes already applied changes, white space, line endings and real differences, with messages that a model can
act on. A hunk that almost fits is never applied.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import islice

from pyro_mcp.errors import PyroError
from pyro_mcp.patches.failures import conflict, difference_start, excerpt
from pyro_mcp.patches.parts import Hunk
from pyro_mcp.patches.placing import (
    MAX_PLACES,
    AlreadyThere,
    Ambiguous,
    Nowhere,
    Offsets,
    may_differ_in_line_ends,
    must_end_the_file,
    stated_start,
)
from pyro_mcp.patches.splicing import Image
from pyro_mcp.patches.text import normal, squeezed

# Lines that occur more often than this (blank ones, braces) don't indicate where a hunk belongs.
_MAX_OCCURRENCES = 64

_READ_AGAIN = "Read the file again and write the hunk's unchanged and removed lines exactly as they are in the file."
_MORE_CONTEXT = (
    "Add unchanged lines around the change until only one place has them, or put the right line number into the"
    " hunk's @@ header."
)
_DROP = "Leave that hunk out; the rest of the patch applies without it if it fits."
_WHITE_SPACE = "Use the file's own tabs, spaces and trailing blanks in the hunk: white space counts."
_USE_LF = "End all lines of the patch in LF: the file's own line ends are kept."
_DROP_END = "Omit the lines '\\ No newline at end of file' and '*** End of File': the file's end then stays unchanged."
_PLACE_INSERTION = "Add one unchanged line before or after the added ones, as diff does."


class Diagnosis:
    """Diagnoses the hunks of one file."""

    def __init__(self, path: str, image: Image) -> None:
        self._path = path
        self._image = image

    def describe(self, hunk: Hunk, offsets: Offsets, outcome: Ambiguous | AlreadyThere | Nowhere) -> PyroError:
        """Return the error for a hunk without a unique place in the file."""
        match outcome:
            case Ambiguous(starts):
                listed = ", ".join(str(start + 1) for start in starts[:MAX_PLACES])
                more = " and more" if len(starts) > MAX_PLACES else ""
                text = f"fits in several places: its lines occur at lines {listed}{more}"
                return self._failure(hunk, text, "ambiguous", _MORE_CONTEXT, starts[0])
            case AlreadyThere(start):
                return self._already(hunk, start)
            case Nowhere(because):
                if because:
                    return self._failure(hunk, f"can't be placed: {because}", "unplaced", _PLACE_INSERTION, None)
        try:
            return self._almost(hunk, offsets) or self._mismatch(hunk, offsets)
        except PyroError:
            # The budget has been spent on earlier hunks.
            return self._failure(hunk, "does not fit anywhere in the file", "mismatch", _READ_AGAIN, None)

    @cached_property
    def _text(self) -> Image:
        """Return the image, with the budget for diagnoses."""
        image = Image(self._image.lines, self._image.budget.for_diagnosis)
        image.edits = self._image.edits
        return image

    @cached_property
    def _standing(self) -> dict[bytes, list[int]]:
        """Return the places of each line that is not blank."""
        self._text.spend_on_lines()
        standing: dict[bytes, list[int]] = {}
        for index, line in enumerate(self._text.normal.lines):
            if line.strip():
                standing.setdefault(line, []).append(index)
        return standing

    def _failure(self, hunk: Hunk, text: str, reason: str, hint: str, start: int | None) -> PyroError:
        where = {} if start is None else {"line": start + 1}
        return conflict(
            self._path,
            f"hunk {hunk.number} (line {hunk.patch_line} of the patch) {text}",
            hint=hint,
            reason=reason,
            patch_line=hunk.patch_line,
            hunk=hunk.number,
            **where,
        )

    def _already(self, hunk: Hunk, start: int) -> PyroError:
        last = start + len(hunk.new)
        lines = f"line {last}" if last == start + 1 else f"lines {start + 1} to {last}"
        text = f"does not apply: the change is already applied, at {lines}"
        return self._failure(hunk, text, "already_applied", _DROP, start)

    def _almost(self, hunk: Hunk, offsets: Offsets) -> PyroError | None:
        """Diagnose hunks that fit except for one difference."""
        text = self._text
        standing = next(text.exact.places(hunk.old), None)
        if standing is None:
            standing = next(text.normal.places(normal(hunk.old)), None)
        if standing is not None and text.edits and not text.is_free(hunk, standing):
            what = f"overlaps an earlier hunk, which has changed line {standing + 1}"
            return self._failure(hunk, what, "overlap", "Make one hunk of the two.", standing)
        there = self._find_new(hunk, offsets)
        if there is not None:
            return self._already(hunk, there)
        if standing is not None:
            return self._wrong_ends(hunk, standing)
        # Blank lines would match any other blank lines.
        if not any(line.strip() for line in hunk.old):
            return None
        blanks = next(text.squeezed.places(squeezed(hunk.old)), None)
        return None if blanks is None else self._difference(hunk, blanks, spaces=True)

    def _wrong_ends(self, hunk: Hunk, standing: int) -> PyroError:
        """Diagnose a hunk whose lines match except for their line ends."""
        last = standing + len(hunk.old)
        count = len(self._text.lines)
        if must_end_the_file(hunk):
            what = "is wrong about the newline at the end of the file"
            if last < count:
                what = f"says that the file ends after its last line, but that is line {last} of {count}"
            return self._failure(hunk, what, "not_at_end", _DROP_END, standing)
        what = f"has LF and CRLF line ends mixed, and they are not those at line {standing + 1} of the file"
        return self._failure(hunk, what, "line_ends", _USE_LF, standing)

    def _find_new(self, hunk: Hunk, offsets: Offsets) -> int | None:
        """Return where the file already has the hunk's result, if that is not a coincidence."""
        by_text = may_differ_in_line_ends(hunk)
        haystack, new = (self._text.normal, normal(hunk.new)) if by_text else (self._text.exact, hunk.new)
        telling = any(mark == "+" and body.strip() for mark, body in hunk.lines) or (hunk.leading and hunk.trailing)
        if not telling:
            return None
        stated = stated_start(hunk, offsets)
        for start in (stated, None if stated is None else stated + offsets.drift):
            if start is not None and haystack.fits(new, start):
                return start
        found = list(islice(haystack.places(new), 2))
        return found[0] if len(found) == 1 else None

    def _mismatch(self, hunk: Hunk, offsets: Offsets) -> PyroError:
        lines = self._text.lines
        stated = stated_start(hunk, offsets)
        start = self._most_alike(hunk, stated)
        if start is not None:
            return self._difference(hunk, start, spaces=False)
        cut = 0
        if stated is not None and stated < len(lines):
            cut = difference_start(hunk.old[0], lines[stated])
        text = "does not fit: none of the lines that it expects is in the file. Expected\n"
        text += f"{excerpt(hunk.old, None, start=cut)}\n"
        if stated is not None and stated < len(lines):
            text += f"but found\n{excerpt(lines[stated : stated + len(hunk.old)], stated + 1, start=cut)}"
            return self._failure(hunk, text, "mismatch", _READ_AGAIN, stated)
        text += f"but the file has {len(lines)} lines" if lines else "but the file is empty"
        return self._failure(hunk, text, "mismatch", _READ_AGAIN, None)

    def _most_alike(self, hunk: Hunk, stated: int | None) -> int | None:
        """Return where most of the old lines occur in order, or None if none of them occurs."""
        votes: Counter[int] = Counter()
        for index, line in enumerate(normal(hunk.old)):
            places = self._standing.get(line, ())
            if len(places) <= _MAX_OCCURRENCES:
                votes.update(place - index for place in places)
        if not votes:
            return None
        near = stated or 0
        return max(votes, key=lambda start: (votes[start], -abs(start - near), -start))

    def _difference(self, hunk: Hunk, start: int, *, spaces: bool) -> PyroError:
        """Return the error that shows the first differing line at `start`, and the lines after it."""
        old, lines = normal(hunk.old), self._text.normal.lines
        if start < 0:
            text = f"does not fit: expected\n{excerpt(old, None)}\nbut the file begins with\n{excerpt(lines, 1)}"
            return self._failure(hunk, text, "mismatch", _READ_AGAIN, 0)
        first = 0
        while start + first < len(lines) and old[first] == lines[start + first]:
            first += 1
        found = lines[start + first : start + len(old)]
        line = start + first + 1
        if not found:
            text = f"does not fit: expected\n{excerpt(old[first:], line)}\nbut the file ends with\n"
            text += excerpt(lines[-1:], len(lines))
            return self._failure(hunk, text, "mismatch", _READ_AGAIN, len(lines) - 1)
        cut = difference_start(old[first], found[0])
        shown = (
            f"expected\n{excerpt(old[first:], line, start=cut, spaces=spaces)}\n"
            f"but found\n{excerpt(found, line, start=cut, spaces=spaces)}"
        )
        if spaces:
            text = f"fits at line {line} except for white space (spaces are shown as ·): {shown}"
            return self._failure(hunk, text, "white_space", _WHITE_SPACE, start + first)
        return self._failure(hunk, f"does not fit at line {line}: {shown}", "mismatch", _READ_AGAIN, start + first)
