"""Why a hunk does not fit: what it expected, what stands there, and what to do about it.

Owns the telling apart of a change that is there already, of white space, of line ends and of true differences, in
words that a model can act on. Refuses to apply what almost fits.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.workspace.patches.failures import conflict, difference_start, excerpt
from pyro_mcp.workspace.patches.placing import (
    MAX_PLACES,
    AlreadyThere,
    Ambiguous,
    Nowhere,
    must_end_the_file,
    stated_start,
)
from pyro_mcp.workspace.patches.splicing import Image, ends_alike
from pyro_mcp.workspace.patches.text import Budget, normal, squeezed

if TYPE_CHECKING:
    from pyro_mcp.workspace.patches.parts import Hunk
    from pyro_mcp.workspace.patches.placing import Offsets

# Saying why must not cost more than trying did.
_DIAGNOSIS_BYTES = 32 << 20
# Lines that stand in more places than this (blank ones, braces) do not tell where a hunk belongs.
_MAX_OCCURRENCES = 64

_READ_AGAIN = "Read the file again and write the hunk's unchanged and removed lines exactly as they stand there."
_MORE_CONTEXT = (
    "Add unchanged lines around the change until only one place has them, or put the right line number into the"
    " hunk's @@ header."
)
_DROP = "Leave that hunk out; the rest of the patch applies without it if it fits."
_PLACE_INSERTION = "Add one unchanged line before or after the added ones, as diff does."


def describe(
    path: str, hunk: Hunk, image: Image, offsets: Offsets, outcome: Ambiguous | AlreadyThere | Nowhere
) -> PyroError:
    """Make the error for a hunk that has no one place in a file."""
    match outcome:
        case Ambiguous(starts):
            listed = ", ".join(str(start + 1) for start in starts[:MAX_PLACES])
            more = " and more" if len(starts) > MAX_PLACES else ""
            return _failure(
                path,
                hunk,
                f"fits in several places: its lines stand at lines {listed}{more}",
                "ambiguous",
                _MORE_CONTEXT,
                starts[0],
            )
        case AlreadyThere(start):
            return _already(path, hunk, start)
        case Nowhere(because):
            if because:
                return _failure(path, hunk, f"can't be placed: {because}", "unplaced", _PLACE_INSERTION, None)
    try:
        own = Image(image.lines, Budget(_DIAGNOSIS_BYTES))
        own.edits = image.edits
        return _almost(path, hunk, own, offsets) or _mismatch(path, hunk, own, offsets)
    except PyroError:
        return _failure(path, hunk, "does not fit anywhere in the file", "mismatch", _READ_AGAIN, None)


def _failure(path: str, hunk: Hunk, text: str, reason: str, hint: str, start: int | None) -> PyroError:
    where = {} if start is None else {"line": start + 1}
    return conflict(
        path,
        f"hunk {hunk.number} (line {hunk.patch_line} of the patch) {text}",
        hint=hint,
        reason=reason,
        patch_line=hunk.patch_line,
        hunk=hunk.number,
        **where,
    )


def _already(path: str, hunk: Hunk, start: int) -> PyroError:
    last = start + len(hunk.new)
    lines = f"line {last}" if last == start + 1 else f"lines {start + 1} to {last}"
    return _failure(
        path, hunk, f"does not apply: the change is already there, at {lines}", "already_applied", _DROP, start
    )


def _almost(path: str, hunk: Hunk, image: Image, offsets: Offsets) -> PyroError | None:
    """Recognise the hunks that fit but for one thing."""
    standing = next(image.exact.places(hunk.old), None)
    if standing is None:
        standing = next(image.normal.places(normal(hunk.old)), None)
    if standing is not None and image.edits and not image.is_free(hunk, standing):
        return _failure(
            path,
            hunk,
            f"overlaps an earlier hunk, which has changed what stands at line {standing + 1}",
            "overlap",
            "Make one hunk of the two.",
            standing,
        )
    there = _find_new(hunk, image, offsets)
    if there is not None:
        return _already(path, hunk, there)
    if standing is not None and must_end_the_file(hunk):
        last = standing + len(hunk.old)
        return _failure(
            path,
            hunk,
            f"says that the file ends after its last line, but that line is {last} of {len(image.lines)}"
            if last < len(image.lines)
            else "is wrong about the newline at the end of the file",
            "not_at_end",
            "Leave the line '\\ No newline at end of file' out, or *** End of File.",
            standing,
        )
    if standing is not None:
        what = "has LF and CRLF line ends mixed" if not ends_alike(hunk) else "changes nothing but line ends"
        return _failure(
            path,
            hunk,
            f"{what}, and they are not those at line {standing + 1} of the file",
            "line_ends",
            "End all lines of the patch in LF: the file's own line ends are kept.",
            standing,
        )
    blanks = next(image.squeezed.places(squeezed(hunk.old)), None)
    # Without a letter in them, lines are alike but for white space everywhere.
    if blanks is None or not any(line.strip() for line in hunk.old):
        return None
    return _difference(path, hunk, image, blanks, spaces=True)


def _find_new(hunk: Hunk, image: Image, offsets: Offsets) -> int | None:
    """Return where the file has what the hunk would make of it, if that is no coincidence."""
    new = normal(hunk.new)
    telling = any(mark == "+" and body.strip() for mark, body in hunk.lines) or (hunk.leading and hunk.trailing)
    if not telling:
        return None
    stated = stated_start(hunk, offsets)
    for start in (stated, None if stated is None else stated + offsets.drift):
        if start is not None and image.normal.fits(new, start):
            return start
    found = list(islice(image.normal.places(new), 2))
    return found[0] if len(found) == 1 else None


def _mismatch(path: str, hunk: Hunk, image: Image, offsets: Offsets) -> PyroError:
    stated = stated_start(hunk, offsets)
    start = _most_alike(hunk, image, stated)
    if start is not None:
        return _difference(path, hunk, image, start, spaces=False)
    expected = excerpt(normal(hunk.old), None)
    text = f"does not fit: none of the lines that it expects is in the file. Expected\n{expected}"
    if not image.lines:
        return _failure(path, hunk, f"{text}\nbut the file is empty", "mismatch", _READ_AGAIN, None)
    if stated is not None and stated < len(image.lines):
        found = excerpt(normal(image.lines[stated : stated + len(hunk.old)]), stated + 1)
        return _failure(path, hunk, f"{text}\nbut there stands\n{found}", "mismatch", _READ_AGAIN, stated)
    return _failure(path, hunk, f"{text}\nThe file has {len(image.lines)} lines", "mismatch", _READ_AGAIN, None)


def _most_alike(hunk: Hunk, image: Image, stated: int | None) -> int | None:
    """Return where most of the old lines stand in their order, or None if none of them does anywhere."""
    image.budget.spend(image.size_bytes)
    standing: dict[bytes, list[int]] = {}
    for index, line in enumerate(image.normal.lines):
        if line.strip():
            standing.setdefault(line, []).append(index)
    votes: Counter[int] = Counter()
    for index, line in enumerate(normal(hunk.old)):
        places = standing.get(line, ())
        if len(places) <= _MAX_OCCURRENCES:
            votes.update(place - index for place in places)
    if not votes:
        return None
    near = stated or 0
    return max(votes, key=lambda start: (votes[start], -abs(start - near), -start))


def _difference(path: str, hunk: Hunk, image: Image, start: int, *, spaces: bool) -> PyroError:
    """Show the first line that differs if the hunk stands at `start`, and the lines after it."""
    old = normal(hunk.old)
    first = max(0, -start)
    while first < len(old) and start + first < len(image.lines) and old[first] == image.normal.lines[start + first]:
        first += 1
    found = image.normal.lines[start + first : start + len(old)]
    line = start + first + 1
    if start < 0 or not found:
        text = f"does not fit: expected\n{excerpt(old[first if start >= 0 else 0 :], None)}\n"
        text += "but the file begins" if start < 0 else "but the file ends"
        edge = 1 if start < 0 else len(image.lines)
        shown = excerpt(image.normal.lines[edge - 1 : edge], edge)
        text += f" {'with' if start < 0 else 'after'}\n{shown}"
        return _failure(path, hunk, text, "mismatch", _READ_AGAIN, max(0, min(line, len(image.lines)) - 1))
    cut = difference_start(old[first], found[0])
    expected = excerpt(old[first:], line, start=cut, spaces=spaces)
    stands = excerpt(found, line, start=cut, spaces=spaces)
    what = (
        f"fits at line {line} but for white space (spaces are shown as ·)" if spaces else f"does not fit at line {line}"
    )
    hint = _READ_AGAIN
    if spaces:
        hint = "Use the file's own tabs, spaces and trailing blanks in the hunk: white space counts."
    reason = "white_space" if spaces else "mismatch"
    return _failure(
        path, hunk, f"{what}: expected\n{expected}\nbut there stands\n{stands}", reason, hint, start + first
    )
