"""Hunks of a unified diff for pairs of texts, from one bounded run of the program `diff`.

Python's own difflib is quadratic, and a guest wrote the input. Pairs are numbered: no name that a guest chose reaches a
command line or a directory of the host. If the comparison takes too long, one hunk replaces all lines that may differ,
which applies as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.files import NEW_FILE, closing_fd, write_at
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.host.process import run
from pyro_mcp.host.programs import find_program
from pyro_mcp.trees.staging import staged_beside

# All pairs together. GNU diff looks for the best answer up to a cost, and for any answer beyond it.
DIFF_TIMEOUT_S = 20.0
_DIFF = ("-a", "-r", "-U3")
_SIDES = ("old", "new")
_DIFFERENT = 1
_NO_NEWLINE = b"\\ No newline at end of file\n"
# A line of one character becomes two in a diff, and each file has a few lines of its own.
_GROWTH, _PER_PAIR_BYTES = 4, 1024
_CONTEXT_LINES = 3
# Lines of hunks begin with a blank, -, + or \: no text looks like this.
_HEADER = re.compile(rb"^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hunks:
    """The hunks of one file, and how many lines they add and take away."""

    data: bytes
    added: int
    removed: int


def compare(pairs: Sequence[tuple[bytes, bytes]], scratch: Path) -> list[Hunks]:
    """Return the hunks that lead from the first text of each pair to the second.

    The texts stand in files below `scratch` meanwhile, a directory of the product's that is made if missing.

    Raises:
        PyroError: MISSING_PROGRAM, NO_SPACE, PERMISSION.
    """
    differing = [index for index, (old, new) in enumerate(pairs) if old and new and old != new]
    found = _run_diff([pairs[index] for index in differing], scratch) if differing else {}
    made: list[Hunks] = []
    numbers = {index: number for number, index in enumerate(differing)}
    for index, (old, new) in enumerate(pairs):
        data = found.get(numbers.get(index, -1), b"")
        made.append(_counted(data) if data else replacement(old, new))
    return made


def compare_part(old: bytes, new: bytes, found: Hunks, old_line: int, new_line: int) -> Hunks:
    """Return the hunks of two parts of texts with the numbers of the lines where they are.

    A hunk with no line after the change would be one at the end of a file: `diff` moves a change down as far as it can.
    """
    ends_with_context = found.data[:-1].rpartition(b"\n")[2][:1] in {b" ", b"\\"}
    if not ends_with_context and _common_tail(old, new):
        found = replacement(old, new)

    def at_its_line(match: re.Match[bytes]) -> bytes:
        old_start, new_start = int(match[1]) + old_line - 1, int(match[3]) + new_line - 1
        return b"@@ -%d%s +%d%s @@" % (old_start, match[2], new_start, match[4])

    return Hunks(_HEADER.sub(at_its_line, found.data), found.added, found.removed)


def replacement(old: bytes, new: bytes) -> Hunks:
    """Return one hunk that takes away all lines between the first and the last that differ, and adds the others."""
    if old == new:
        return Hunks(b"", 0, 0)
    head = _common_head(old, new)
    tail = _common_tail(old[head:], new[head:])
    removed, added = old[head : len(old) - tail], new[head : len(new) - tail]
    before, after = _last_lines(old[:head]), _first_lines(old[len(old) - tail :])
    start = old.count(b"\n", 0, head) - _line_count(before)
    context = _line_count(before) + _line_count(after)
    ranges = [_range(start, context + _line_count(text)) for text in (removed, added)]
    header = f"@@ -{ranges[0]} +{ranges[1]} @@\n".encode()
    data = header + _marked(b" ", before) + _marked(b"-", removed) + _marked(b"+", added) + _marked(b" ", after)
    return Hunks(data, _line_count(added), _line_count(removed))


def _run_diff(pairs: list[tuple[bytes, bytes]], scratch: Path) -> dict[int, bytes]:
    """Return each pair's hunks by its number; none for those that `diff` could not be waited for."""
    program = find_program("diff")
    ensure_private_dir(scratch)
    with staged_beside(scratch / f"review-{os.urandom(8).hex()}") as staging:
        with os_errors(f"write to the directory {scratch}"):
            for side, name in enumerate(_SIDES):
                os.mkdir(name, 0o700, dir_fd=staging.fd)
                for number, pair in enumerate(pairs):
                    _write(f"{name}/{number}", pair[side], staging.fd)
        size = sum(len(old) + len(new) for old, new in pairs)
        try:
            done = run(
                [program, *_DIFF, *_SIDES],
                timeout_s=DIFF_TIMEOUT_S,
                # Messages, among them the one about a missing newline, come in English.
                env={"PATH": os.defpath, "LC_ALL": "C"},
                cwd=f"/proc/{os.getpid()}/fd/{staging.fd}",
                check=False,
                max_output_bytes=_GROWTH * size + _PER_PAIR_BYTES * len(pairs),
            )
        except PyroError as error:
            if error.code is not ErrorCode.TIMEOUT:
                raise
            return {}
    if done.returncode != _DIFFERENT or done.dropped_bytes:
        return {}
    return _by_number(done.stdout)


def _write(name: str, data: bytes, directory_fd: int) -> None:
    with closing_fd(os.open(name, NEW_FILE, 0o600, dir_fd=directory_fd)) as fd:
        write_at(fd, memoryview(data), 0)


def _by_number(output: bytes) -> dict[int, bytes]:
    r"""Part what `diff -r` printed. Lines of hunks begin with a blank, -, + or \, so that no text looks like ours."""
    found: dict[int, bytes] = {}
    for section in (b"\n" + output).split(b"\ndiff ")[1:]:
        command, _old, _new, *hunks = section.split(b"\n", 3)
        if hunks:
            found[int(command.rpartition(b"/")[2])] = hunks[0] if hunks[0].endswith(b"\n") else hunks[0] + b"\n"
    return found


def _counted(data: bytes) -> Hunks:
    return Hunks(data, data.count(b"\n+"), data.count(b"\n-"))


def _common_head(old: bytes, new: bytes) -> int:
    """Return how many bytes at the beginning are the same lines."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if old[low:middle] == new[low:middle] else (low, middle - 1)
    return low if low == len(old) == len(new) else old.rfind(b"\n", 0, low) + 1


def _common_tail(old: bytes, new: bytes) -> int:
    """Return how many bytes at the end are the same lines."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        is_same = old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]
        low, high = (middle, high) if is_same else (low, middle - 1)
    # The first line of it is a whole one only where it begins one in both.
    if all(text[len(text) - low - 1 : len(text) - low] in {b"", b"\n"} for text in (old, new)):
        return low
    newline = old.find(b"\n", len(old) - low)
    return 0 if newline < 0 else len(old) - newline - 1


def _last_lines(data: bytes) -> bytes:
    at = len(data)
    for _ in range(_CONTEXT_LINES):
        at = data.rfind(b"\n", 0, max(at - 1, 0)) + 1
    return data[at:]


def _first_lines(data: bytes) -> bytes:
    at = 0
    for _ in range(_CONTEXT_LINES):
        at = data.find(b"\n", at) + 1 or len(data)
    return data[:at]


def _line_count(data: bytes) -> int:
    """Return how many lines there are; only a newline ends one."""
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def _marked(mark: bytes, data: bytes) -> bytes:
    if not data:
        return b""
    marked = mark + data.removesuffix(b"\n").replace(b"\n", b"\n" + mark) + b"\n"
    return marked if data.endswith(b"\n") else marked + _NO_NEWLINE


def _range(start: int, count: int) -> str:
    """Return the lines of a hunk, that begin after so many others, as its header has them."""
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"
