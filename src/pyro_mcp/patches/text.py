"""A file's text as lines of bytes, and bounded search for a run of lines in it.

Line endings are LF, CRLF, or none at the end of the file; a carriage return alone is not one, nor is a form feed.
Nothing is decoded or trimmed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate

from pyro_mcp.errors import ErrorCode, PyroError

LF = b"\n"
CRLF = b"\r\n"

# Bytes that one patch may make the engine look through. Right line numbers cost next to nothing; what spends this
# is hundreds of hunks with wrong ones in large files. At the 50 MB/s of bytes.find's worst case: five seconds.
MAX_SEARCHED_BYTES = 256 << 20
# Saying why hunks do not fit must not cost more than trying did; without this, it is said in fewer words.
MAX_DIAGNOSED_BYTES = 64 << 20
# The cost of handling a line by itself, in bytes searched in the same time.
LINE_COST_BYTES = 32


class Budget:
    """Bound the searching that one patch may cause."""

    def __init__(self, left: int = MAX_SEARCHED_BYTES) -> None:
        self._left = left

    @cached_property
    def for_diagnosis(self) -> Budget:
        """Return what may be spent on saying why hunks do not fit."""
        return Budget(MAX_DIAGNOSED_BYTES)

    def spend(self, searched_bytes: int) -> None:
        """Take from what is left.

        Raises:
            PyroError: nothing is left.
        """
        self._left -= searched_bytes
        if self._left < 0:
            raise PyroError(
                ErrorCode.INVALID,
                "the patch takes too much searching: too many of its hunks are not at the lines that they state",
                hint="Put right line numbers into the @@ headers, or send the patch in smaller parts.",
                details={"reason": "too_much_searching"},
            )


def split_lines(data: bytes) -> list[bytes]:
    """Split after each LF. Joined again, the lines are the same bytes."""
    lines = [line + LF for line in data.split(LF)]
    last = lines.pop()[:-1]
    if last:
        lines.append(last)
    return lines


def ending(line: bytes) -> bytes:
    """Return what ends the line: CRLF, LF, or nothing."""
    if line.endswith(CRLF):
        return CRLF
    return LF if line.endswith(LF) else b""


def content(line: bytes) -> bytes:
    """Return the line without what ends it."""
    return line[: len(line) - len(ending(line))]


def normal(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines as if each ended in LF, the last one too."""
    return [content(line) + LF for line in lines]


def squeezed(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines without any white space, each ended by LF."""
    return [b"".join(line.split()) + LF for line in lines]


def usual_ending(lines: Sequence[bytes]) -> bytes:
    """Return the line end that most of the lines have; the first one's where it is a tie."""
    windows = sum(line.endswith(CRLF) for line in lines)
    unix = sum(line.endswith(LF) for line in lines) - windows
    if windows == unix and lines:
        return ending(lines[0]) or LF
    return CRLF if windows > unix else LF


class Haystack:
    """Find runs of whole lines in a text."""

    def __init__(self, lines: list[bytes], budget: Budget) -> None:
        self.lines = lines
        self._budget = budget

    def fits(self, needle: list[bytes], at: int) -> bool:
        """Say whether the needle stands exactly at line index `at`."""
        end = at + len(needle)
        return at >= 0 and end <= len(self.lines) and self.lines[at:end] == needle

    def places(self, needle: list[bytes], start: int = 0) -> Iterator[int]:
        """Yield each line index from `start` on where the needle stands, overlapping ones too."""
        last = len(self.lines) - len(needle)
        if not needle or last < start:
            return
        if not needle[-1].endswith(LF):
            # Without its line end the needle would be found in the middle of a longer line.
            if self.fits(needle, last):
                yield last
            return
        # Each line begins after an LF: the one before the text stands for the first line's.
        wanted = LF + b"".join(needle)
        at = self._starts[start]
        while True:
            found = self._joined.find(wanted, at)
            reached = found if found >= 0 else len(self._joined)
            self._budget.spend(reached - at + len(wanted))
            if found < 0:
                return
            yield bisect_left(self._starts, found)
            at = found + 1

    @cached_property
    def _joined(self) -> bytes:
        return LF + b"".join(self.lines)

    @cached_property
    def _starts(self) -> list[int]:
        """Return for each line where the LF before it stands in `_joined`."""
        return [0, *accumulate(len(line) for line in self.lines)]
