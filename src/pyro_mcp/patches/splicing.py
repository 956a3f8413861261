"""Edit a file's lines while hunks are applied: earlier edits, free places, and line endings.

`placing` chooses the places.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pyro_mcp.patches.parts import Hunk
from pyro_mcp.patches.text import (
    CRLF,
    LF,
    LINE_COST_BYTES,
    Budget,
    Haystack,
    content,
    ending,
    normal,
    split_lines,
    squeezed,
    usual_ending,
)


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replaces the lines from index `start` up to `end` by others."""

    start: int
    end: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of a hunk, and whether its lines match only without their line ends."""

    start: int
    other_ends: bool = False


class Image:
    """A file's lines, the edits so far, and the indexes for searching."""

    def __init__(self, lines: list[bytes], budget: Budget) -> None:
        self.lines = lines
        self.edits: list[Edit] = []
        # The number of lines added by the edits, minus those removed.
        self.grown = 0
        self.budget = budget
        self.exact = Haystack(lines, budget)

    @cached_property
    def normal(self) -> Haystack:
        """Return the lines with all line ends replaced by LF."""
        self.spend_on_lines()
        return Haystack(normal(self.lines), self.budget)

    @cached_property
    def squeezed(self) -> Haystack:
        """Return the lines without their white space."""
        self.spend_on_lines()
        return Haystack(squeezed(self.lines), self.budget)

    def spend_on_lines(self) -> None:
        """Charge the budget for one pass over all lines."""
        self.budget.spend(self.size_bytes + LINE_COST_BYTES * len(self.lines))

    @cached_property
    def size_bytes(self) -> int:
        """Return the size of the file without the edits."""
        return sum(map(len, self.lines))

    @cached_property
    def usual_ending(self) -> bytes:
        """Return the most frequent line end."""
        return usual_ending(self.lines)

    @cached_property
    def all_crlf(self) -> bool:
        """Return whether every line ends in CRLF, except that the last may have no line end."""
        return (
            bool(self.lines)
            and all(line.endswith(CRLF) for line in self.lines[:-1])
            and (ending(self.lines[-1]) == CRLF or (len(self.lines) > 1 and not ending(self.lines[-1])))
        )

    def is_free(self, hunk: Hunk, start: int) -> bool:
        """Return whether no edit has touched the lines of the hunk."""
        if not self.edits:
            return True
        end = start + len(hunk.old)
        insertions = {first for first, last, _ in runs(hunk, start) if first == last}
        index = bisect_left(self.edits, start, key=lambda edit: edit.start)
        if index and self.edits[index - 1].end > start:
            return False
        # Edits do not overlap, so at most one of them begins before the hunk and overlaps it.
        while index < len(self.edits) and (edit := self.edits[index]).start <= end:
            index += 1
            if edit.start == edit.end:
                if start < edit.start < end or edit.start in insertions:
                    return False
            elif edit.start < end:
                return False
        return True

    def put(self, hunk: Hunk, placement: Placement) -> None:
        """Add the hunk's edits. Its place must be free."""
        for edit in _edits(self, hunk, placement):
            insort(self.edits, edit)
            self.grown += len(edit.lines) - (edit.end - edit.start)

    def moved(self) -> list[int]:
        """Return the new index of each line, and of the end, with all edits applied."""
        places: list[int] = []
        grown = 0
        for edit in self.edits:
            places += range(len(places) + grown, edit.start + grown)
            places += [edit.start + grown] * (edit.end - edit.start)
            grown += len(edit.lines) - (edit.end - edit.start)
        return [*places, *range(len(places) + grown, len(self.lines) + grown + 1)]

    def applied(self) -> list[bytes]:
        """Return the lines with all edits applied."""
        result: list[bytes] = []
        at = 0
        for edit in self.edits:
            result += self.lines[at : edit.start]
            result += edit.lines
            at = edit.end
        result += self.lines[at:]
        # The former last line of the file may now be followed by others.
        for index, line in enumerate(result[:-1]):
            if not line.endswith(LF):
                result[index] = line + self.usual_ending
        return result


def image_of(data: bytes, budget: Budget) -> Image:
    """Return the image of a file's content."""
    return Image(split_lines(data), budget)


def ends_alike(hunk: Hunk) -> bool:
    """Return whether all of the hunk's lines have the same line end, so that it implies no change of line ends."""
    return len({ending(body) for _, body in hunk.lines} - {b""}) <= 1


def unended(lines: list[bytes]) -> bool:
    """Return whether the last line has no line end."""
    return bool(lines) and not lines[-1].endswith(LF)


def runs(hunk: Hunk, start: int) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield the hunk's changes if its first line is at `start`: start and end of the old lines, and the new lines."""
    at = first = start
    added: list[bytes] = []
    changed = False
    for mark, body in hunk.lines:
        if mark == " ":
            if changed:
                yield first, at, added
            at += 1
            first, added, changed = at, [], False
        else:
            changed = True
            if mark == "+":
                added.append(body)
            else:
                at += 1
    if changed:
        yield first, at, added


def _edits(image: Image, hunk: Hunk, placement: Placement) -> Iterator[Edit]:
    if not hunk.old:
        yield _insertion(image, hunk, placement.start)
        return
    reaches_end = placement.start + len(hunk.old) == len(image.lines)
    for first, last, added in runs(hunk, placement.start):
        lines = _with_the_files_ends(image, first, last, added) if placement.other_ends else added
        ends_file = reaches_end and last == len(image.lines) and hunk.lines[-1][0] != " "
        if placement.other_ends and ends_file and lines:
            lines[-1] = _with_the_files_last_end(image, lines[-1])
        yield Edit(first, last, tuple(lines))


def _with_the_files_ends(image: Image, first: int, last: int, added: list[bytes]) -> list[bytes]:
    """Give each added line the line end of the line that it replaces, or of the preceding one."""
    around = image.lines[first:last] or image.lines[max(0, first - 1) : first] or image.lines[last : last + 1]
    ends = [ending(line) or image.usual_ending for line in around] or [image.usual_ending]
    return [content(line) + ends[min(index, len(ends) - 1)] for index, line in enumerate(added)]


def _with_the_files_last_end(image: Image, line: bytes) -> bytes:
    """Keep the file's last line end, about which the hunk says nothing."""
    return content(line) if unended(image.lines) else line


def _insertion(image: Image, hunk: Hunk, at: int) -> Edit:
    """Return the edit for a hunk that has only added lines."""
    added = list(hunk.new)
    if image.all_crlf and not any(line.endswith(CRLF) for line in added):
        added = [content(line) + (CRLF if ending(line) else b"") for line in added]
    if at == len(image.lines) and unended(image.lines):
        added[-1] = content(added[-1])
        return Edit(at - 1, at, (image.lines[-1] + image.usual_ending, *added))
    return Edit(at, at, tuple(added))
