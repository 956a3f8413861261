"""Find the differing parts of two large texts without loading either into memory.

A part consists of the differing lines and up to ten equal lines on each side. Parts do not overlap. They are not
minimal: the host diffs the two texts of each.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_CONTEXT_LINES = 10
# The texts are in step again after this many equal lines, so that the contexts of two parts never overlap.
_IN_STEP_LINES = 2 * _CONTEXT_LINES
_CHUNK_BYTES = 256 * 1024
# The second is for long lines.
_CONTEXTS_BYTES = (64 * 1024, 4 * 1024 * 1024)
_LEAST_CONTEXT_LINES = 3
_WINDOWS_BYTES = (64 * 1024, 512 * 1024, 4 * 1024 * 1024)
# Only this many occurrences of a line are considered.
_MOST_PLACES = 16


class Part(NamedTuple):
    """Lines of two texts, with the number of the first line in each, from 1."""

    old_line: int
    new_line: int
    old: bytes
    new: bytes


def changed_parts(old_fd: int, new_fd: int, *, max_bytes: int, max_parts: int) -> list[Part] | None:
    """Return the differing parts of two files, or None if they exceed a limit or the texts don't get in step again."""
    old, new = _Text(old_fd), _Text(new_fd)
    parts: list[Part] = []
    while _skip_equal_lines(old, new):
        found = _out_of_step(old, new)
        if found is None or len(parts) == max_parts:
            return None
        before = old.before()
        old_lines, new_lines, after = found
        part = Part(
            old.line - len(before),
            new.line - len(before),
            b"".join([*before, *old_lines, *after]),
            b"".join([*before, *new_lines, *after]),
        )
        max_bytes -= len(part.old) + len(part.new)
        if max_bytes < 0:
            return None
        parts.append(part)
        old.skip([*old_lines, *after])
        new.skip([*new_lines, *after])
    return parts


class _Text:
    """A file that is read once, by lines."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at = 0
        self.line = 1
        # The end of the last part.
        self.floor = 0

    def lines(self, window_bytes: int) -> tuple[list[bytes], bool]:
        """Return the next whole lines, and whether the text ends with them."""
        data = os.pread(self.fd, window_bytes, self.at)
        lines = _split(data)
        is_end = len(data) < window_bytes
        if not is_end and lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        return lines, is_end

    def before(self) -> list[bytes]:
        """Return the context lines before the current position."""
        lines: list[bytes] = []
        for context_bytes in _CONTEXTS_BYTES:
            start = max(self.floor, self.at - context_bytes)
            lines = _split(os.pread(self.fd, self.at - start, start))[start > self.floor :][-_CONTEXT_LINES:]
            if len(lines) >= _LEAST_CONTEXT_LINES or start == self.floor:
                break
        return lines

    def skip(self, lines: list[bytes]) -> None:
        """Advance past lines that belong to a part."""
        self.at += sum(map(len, lines))
        self.line += len(lines)
        self.floor = self.at


def _skip_equal_lines(old: _Text, new: _Text) -> bool:
    """Advance both to the next differing line; return whether there is one."""
    # Offsets from the current line: the end of the equal bytes, and the start of the last line before that end.
    equal = line_start = lines = 0
    while True:
        ours, theirs = (os.pread(each.fd, _CHUNK_BYTES, each.at + equal) for each in (old, new))
        count = len(ours) if ours == theirs else _common_bytes(ours, theirs)
        lines += ours.count(b"\n", 0, count)
        newline = ours.rfind(b"\n", 0, count)
        line_start = equal + newline + 1 if newline >= 0 else line_start
        equal += count
        if ours != theirs or not ours:
            break
    differ = ours != theirs
    for each in (old, new):
        each.at += line_start if differ else equal
        each.line += lines
    return differ


def _common_bytes(ours: bytes, theirs: bytes) -> int:
    """Return the length of the common prefix."""
    low, high = 0, min(len(ours), len(theirs))
    while low < high:
        middle = (low + high + 1) // 2
        if ours[low:middle] == theirs[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _out_of_step(old: _Text, new: _Text) -> tuple[list[bytes], list[bytes], list[bytes]] | None:
    """Return the lines of both sides until they are in step again, and the first equal lines after that."""
    for window_bytes in _WINDOWS_BYTES:
        (old_lines, old_ends), (new_lines, new_ends) = old.lines(window_bytes), new.lines(window_bytes)
        found = _in_step(old_lines, new_lines, are_ends=old_ends and new_ends)
        if found is not None:
            before, after = found
            return old_lines[:before], new_lines[:after], old_lines[before : before + _CONTEXT_LINES]
    return None


def _in_step(old: list[bytes], new: list[bytes], *, are_ends: bool) -> tuple[int, int] | None:
    """Return the nearest indices from which enough lines, or all up to the ends, are equal."""
    best = None
    if are_ends:
        same = 0
        while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
            same += 1
        best = len(old) - same, len(new) - same
    places: dict[bytes, list[int]] = {}
    for index, line in enumerate(new):
        known = places.setdefault(line, [])
        if len(known) < _MOST_PLACES:
            known.append(index)
    for index in range(len(old) - _IN_STEP_LINES + 1):
        if best is not None and index >= sum(best):
            break
        for place in places.get(old[index], ()):
            run = new[place : place + _IN_STEP_LINES]
            is_nearer = best is None or index + place < sum(best)
            if is_nearer and len(run) == _IN_STEP_LINES and old[index : index + _IN_STEP_LINES] == run:
                best = index, place
    return best


def _split(data: bytes) -> list[bytes]:
    """Return the lines including their newlines; no other character ends a line."""
    lines = data.split(b"\n")
    rest = lines.pop()
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
