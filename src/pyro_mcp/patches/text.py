"""Split a file into lines of bytes, and search it for runs of lines, with a limit on the cost.

Line endings are LF, CRLF, or none at the end of the file, but neither a single carriage return nor a form feed. Nothing
is decoded or trimmed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate

from pyro_mcp.errors import ErrorCode, PyroError

LF = b"\n"
CRLF = b"\r\n"

# The number of bytes that may be searched for one patch. Correct line numbers cost next to nothing; only hundreds of
# hunks with wrong ones in large files reach this. In the worst case of bytes.find, 50 MB/s, it takes five seconds.
MAX_SEARCHED_BYTES = 256 << 20
# The limit for diagnosing hunks that don't fit, which must not cost more than the search; then messages are short.
MAX_DIAGNOSED_BYTES = 64 << 20
# The cost of processing a single line, in bytes that can be searched in the same time.
LINE_COST_BYTES = 32


class Budget:
    """Limits the cost of searching for one patch."""

    def __init__(self, left: int = MAX_SEARCHED_BYTES) -> None:
        self._left = left

    @cached_property
    def for_diagnosis(self) -> Budget:
        """Return the budget for diagnosing hunks that don't fit."""
        return Budget(MAX_DIAGNOSED_BYTES)

    def spend(self, searched_bytes: int) -> None:
        """Charge the budget.

        Raises:
            PyroError: if it is exhausted.
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
    """Split after each LF. Joining the lines gives the same bytes."""
    lines = [line + LF for line in data.split(LF)]
    last = lines.pop()[:-1]
    if last:
        lines.append(last)
    return lines


def ending(line: bytes) -> bytes:
    """Return the line end: CRLF, LF, or nothing."""
    if line.endswith(CRLF):
        return CRLF
    return LF if line.endswith(LF) else b""


def content(line: bytes) -> bytes:
    """Return the line without its line end."""
    return line[: len(line) - len(ending(line))]


def normal(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines with every line end, including the last, replaced by LF."""
    return [content(line) + LF for line in lines]


def squeezed(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines without any white space, each ended by LF."""
    return [b"".join(line.split()) + LF for line in lines]


def usual_ending(lines: Sequence[bytes]) -> bytes:
    """Return the most frequent line end; if there is a tie, the first line's."""
    windows = sum(line.endswith(CRLF) for line in lines)
    unix = sum(line.endswith(LF) for line in lines) - windows
    if windows == unix and lines:
        return ending(lines[0]) or LF
    return CRLF if windows > unix else LF


class Haystack:
    """Finds runs of whole lines in a text."""

    def __init__(self, lines: list[bytes], budget: Budget) -> None:
        self.lines = lines
        self._budget = budget

    def fits(self, needle: list[bytes], at: int) -> bool:
        """Return whether the needle matches exactly at line index `at`."""
        end = at + len(needle)
        return at >= 0 and end <= len(self.lines) and self.lines[at:end] == needle

    def places(self, needle: list[bytes], start: int = 0) -> Iterator[int]:
        """Yield each line index from `start` on where the needle matches, including overlapping matches."""
        last = len(self.lines) - len(needle)
        if not needle or last < start:
            return
        if not needle[-1].endswith(LF):
            # Without its line end the needle would be found in the middle of a longer line.
            if self.fits(needle, last):
                yield last
            return
        # Each line begins after an LF: one is prepended to the text for the first line.
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
        """Return the offset in `_joined` of the LF before each line."""
        return [0, *accumulate(len(line) for line in self.lines)]
