"""Parse hunks written by git and models, whether their counts are right, wrong or missing.

No change is dropped silently: a line that could be another change is an error rather than prose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pyro_mcp.patches.failures import malformed, visible
from pyro_mcp.patches.parts import Hunk, HunkLine, Mark, Range
from pyro_mcp.patches.text import CRLF, LF

_NUMBERS = r"[ \t]*(\d{1,9})(?!\d)(?:[ \t]*,[ \t]*(\d{1,9})(?!\d))?"
_RANGE = re.compile(rf"@@[ \t]*-{_NUMBERS}[ \t]*\+{_NUMBERS}[ \t]*(?:@@(?P<heading>.*))?".encode(), re.DOTALL)
_SEPARATORS = re.compile(rb"^(?:@@|\.\.\.|[ \t])+|(?:@@|\.\.\.|[ \t])+$")
_VERSION = re.compile(rb"\d+\.\d")
# The minimum length of "\ No newline at end of file" in any language, as in git.
_MIN_MARKER_BYTES = 12
_MAX_HEADING_BYTES = 1000
_SHAPE_HINT = (
    "Each line of a hunk begins with a space (unchanged), - (removed), + (added) or is empty;"
    " send the patch alone, without text after it."
)
_BLANK = frozenset({LF, CRLF})


def is_hunk_header(line: bytes) -> bool:
    """Return whether a hunk begins here."""
    return line.startswith(b"@@") and not line.startswith(b"@@@")


def is_marker(line: bytes) -> bool:
    r"""Return whether the line is `\ No newline at end of file`, in any language."""
    return line.startswith(b"\\ ") and len(line) >= _MIN_MARKER_BYTES


def is_file_header(lines: Sequence[bytes], at: int) -> bool:
    """Return whether the two lines that name a file begin here."""
    return at + 1 < len(lines) and lines[at].startswith(b"--- ") and lines[at + 1].startswith(b"+++ ")


def is_boundary(lines: Sequence[bytes], at: int) -> bool:
    """Return whether another part of the patch, or the end of its code block, begins here."""
    line = lines[at]
    return line.startswith((b"@@", b"diff --git ", b"*** ", b"```", b"~~~", b"Index: ")) or is_file_header(lines, at)


def read_header(line: bytes) -> tuple[Range, tuple[bytes, ...]]:
    """Return the numbers of a hunk's header, and its heading if it has no numbers."""
    match = _RANGE.match(line)
    if match:
        numbers = [None if group is None else int(group) for group in match.groups()[:4]]
        old_start, old_count, new_start, new_count = numbers
        ranges = Range(
            old_start, 1 if old_count is None else old_count, new_start, 1 if new_count is None else new_count
        )
        # A header that ends after its numbers is truncated, so its counts are not reliable.
        return (ranges, ()) if match["heading"] is not None else (Range(old_start, None, new_start, None), ())
    if len(line) > _MAX_HEADING_BYTES:
        return Range(), ()
    heading = _SEPARATORS.sub(b"", _SEPARATORS.sub(b"", line.rstrip())).strip()
    return Range(), (heading,) if heading else ()


def read_hunk(
    lines: Sequence[bytes], at: int, ranges: Range, headings: tuple[bytes, ...], *, number: int, new_file: bool = False
) -> tuple[Hunk, int]:
    """Read the hunk whose first line after its header is `lines[at]`; return it and the index after it.

    With `new_file`, an empty line can only be an added one without its +.

    Raises:
        PyroError: a line can't be understood, or the hunk changes nothing.
    """
    blank: Mark = "+" if new_file or ranges.old_count == 0 else " "
    end = _counted_end(lines, at, ranges, blank)
    if end is None or goes_on(lines, end):
        end = _uncounted_end(lines, at)
        _refuse_stray_changes(lines, end)
        body_end = end
        while body_end > at and lines[body_end - 1] in _BLANK:
            body_end -= 1
    else:
        body_end = end
    body = _read_body(lines[at:body_end], at, blank)
    if not any(mark != " " for mark, _ in body):
        raise malformed(
            at,
            f"begins a hunk that changes nothing: none of its {len(body)} lines begins with - or +",
            hint=_SHAPE_HINT,
        )
    return Hunk(number, at, ranges, tuple(body), headings), end


def _mark_of(line: bytes, blank: Mark) -> Mark | Literal["\\"] | None:
    """Return the mark of a hunk's line, or None if it is not a line of a hunk."""
    match line[:1]:
        case b" ":
            return " "
        case b"+":
            return "+"
        case b"-":
            return "-"
        case _:
            if line in _BLANK:
                return blank
            return "\\" if is_marker(line) else None


def _counted_end(lines: Sequence[bytes], at: int, ranges: Range, blank: Mark) -> int | None:
    """Return the index after the number of lines stated in the header, or None if there are not that many."""
    if ranges.old_count is None or ranges.new_count is None:
        return None
    old, new = ranges.old_count, ranges.new_count
    while old > 0 or new > 0:
        mark = _mark_of(lines[at], blank) if at < len(lines) else None
        if mark is None:
            return None
        old -= mark in {" ", "-"}
        new -= mark in {" ", "+"}
        at += 1
    if old or new:
        return None
    while at < len(lines) and is_marker(lines[at]):
        at += 1
    return at


def _is_signature(lines: Sequence[bytes], at: int) -> bool:
    """Return whether the signature of git format-patch begins here: "-- " and its version."""
    return (
        lines[at].rstrip(b"\r\n") in {b"-- ", b"--"}
        and at + 1 < len(lines)
        and _VERSION.match(lines[at + 1]) is not None
    )


def goes_on(lines: Sequence[bytes], at: int) -> bool:
    """Return whether more changed lines follow directly, which means that the counts are too small."""
    while at < len(lines):
        if is_file_header(lines, at) or _is_signature(lines, at):
            return False
        mark = _mark_of(lines[at], " ")
        if mark is None:
            return False
        if mark in {"+", "-"}:
            return True
        at += 1
    return False


def _uncounted_end(lines: Sequence[bytes], at: int) -> int:
    """Return the index of the first line that can't belong to the hunk."""
    while at < len(lines):
        if _mark_of(lines[at], " ") is None or _is_signature(lines, at):
            break
        # A removed line "-- x" and an added "++ y" look the same; the following lines decide.
        if is_file_header(lines, at) and _begins_a_file(lines, at):
            break
        at += 1
    return at


def _begins_a_file(lines: Sequence[bytes], at: int) -> bool:
    after = at + 2
    while after < len(lines) and lines[after] in _BLANK:
        after += 1
    return after == len(lines) or is_hunk_header(lines[after])


def _refuse_stray_changes(lines: Sequence[bytes], at: int) -> None:
    """Raise if the hunk was ended by a line without a mark that is followed by changed lines."""
    if at >= len(lines) or is_boundary(lines, at) or _is_signature(lines, at):
        return
    stray = at
    while at < len(lines) and not is_boundary(lines, at) and not _is_signature(lines, at):
        if lines[at].startswith((b"+", b"-")):
            text = visible(lines[stray].rstrip(), limit=80)
            raise malformed(
                stray + 1,
                f'("{text}") ends the hunk, for it does not begin with a space, + or -;'
                f" but line {at + 1} looks like one more of its changes",
                hint=_SHAPE_HINT,
            )
        at += 1


def _read_body(lines: Sequence[bytes], at: int, blank: Mark) -> list[HunkLine]:
    """Return the lines with their marks; `at` is the index of the first in the patch."""
    body: list[HunkLine] = []
    unended: dict[Mark, int] = {}
    for index, line in enumerate(lines, at):
        mark = _mark_of(line, blank)
        if mark == "\\":
            if not body:
                raise malformed(index + 1, "says that there is no newline, but no line precedes it", hint=_SHAPE_HINT)
            last_mark, last = body[-1]
            # If all lines of the patch end in CRLF, that says nothing about the file's line ends.
            body[-1] = (last_mark, last.removesuffix(CRLF if line.endswith(CRLF) else LF))
            unended[last_mark] = index
        elif mark is not None:
            body.append((mark, line if line in _BLANK else line[1:]))
            _refuse_after_the_end(unended, mark)
    return body


def _refuse_after_the_end(unended: dict[Mark, int], mark: Mark) -> None:
    """Raise if a line with this mark follows one that was marked as the last of its side."""
    sides = {"-": ("-", " "), "+": ("+", " "), " ": ("-", "+", " ")}
    for other in sides[mark]:
        if other in unended:
            raise malformed(
                unended[other] + 1,
                "says that the file has no newline at its end there, but more lines of the same side follow",
                hint="Put that line only after the last line of the old side, of the new side, or of both.",
            )
