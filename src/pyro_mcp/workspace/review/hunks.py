"""Hunks of a unified diff for pairs of texts, from one run of `diff` with a time limit.

Python's own difflib is quadratic, and a guest wrote the input. Pairs are numbered: no name that a guest chose reaches a
command line or a directory of the host. If the comparison takes too long, one hunk replaces all lines that may differ;
such a patch applies too.
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

# For all pairs together. GNU diff searches for a minimal diff up to some cost, and takes any diff beyond it.
DIFF_TIMEOUT_S = 20.0
_DIFF = ("-a", "-r", "-U3")
_SIDES = ("old", "new")
_DIFFERENT = 1
_NO_NEWLINE = b"\\ No newline at end of file\n"
# A one-character line becomes two characters in a diff, and each file adds a few lines.
_GROWTH, _PER_PAIR_BYTES = 4, 1024
_CONTEXT_LINES = 3
# Lines of hunks begin with a space, -, + or \: no content looks like this.
_HEADER = re.compile(rb"^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hunks:
    """The hunks of one file, and the number of lines they add and remove."""

    data: bytes
    added: int
    removed: int


def compare(pairs: Sequence[tuple[bytes, bytes]], scratch: Path) -> list[Hunks]:
    """Return the hunks from the first text of each pair to the second.

    The texts are written to temporary files below `scratch`, a private directory that is created if missing.

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
    """Return the hunks of parts of two texts, with the line numbers of the whole texts.

    A hunk without context after the change applies only at the end of a file, and `diff` moves a change down as far as
    possible: such hunks are replaced.
    """
    ends_with_context = found.data[:-1].rpartition(b"\n")[2][:1] in {b" ", b"\\"}
    if not ends_with_context and _common_tail(old, new):
        found = replacement(old, new)

    def at_its_line(match: re.Match[bytes]) -> bytes:
        old_start, new_start = int(match[1]) + old_line - 1, int(match[3]) + new_line - 1
        return b"@@ -%d%s +%d%s @@" % (old_start, match[2], new_start, match[4])

    return Hunks(_HEADER.sub(at_its_line, found.data), found.added, found.removed)


def replacement(old: bytes, new: bytes) -> Hunks:
    """Return one hunk that replaces all lines from the first to the last that differ."""
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
    """Return each pair's hunks by its number, without those that `diff` did not finish in time."""
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
                # For messages in English, such as the one about a missing newline.
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
    r"""Split the output of `diff -r`. Lines of hunks begin with a space, -, + or \, so no content looks like ours."""
    found: dict[int, bytes] = {}
    for section in (b"\n" + output).split(b"\ndiff ")[1:]:
        command, _old, _new, *hunks = section.split(b"\n", 3)
        if hunks:
            found[int(command.rpartition(b"/")[2])] = hunks[0] if hunks[0].endswith(b"\n") else hunks[0] + b"\n"
    return found


def _counted(data: bytes) -> Hunks:
    return Hunks(data, data.count(b"\n+"), data.count(b"\n-"))


def _common_head(old: bytes, new: bytes) -> int:
    """Return the number of bytes of the common lines at the beginning."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if old[low:middle] == new[low:middle] else (low, middle - 1)
    return low if low == len(old) == len(new) else old.rfind(b"\n", 0, low) + 1


def _common_tail(old: bytes, new: bytes) -> int:
    """Return the number of bytes of the common lines at the end."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        is_same = old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]
        low, high = (middle, high) if is_same else (low, middle - 1)
    # The first line is complete only if it begins a line in both texts.
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
    """Return the number of lines; only a newline ends one."""
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def _marked(mark: bytes, data: bytes) -> bytes:
    if not data:
        return b""
    marked = mark + data.removesuffix(b"\n").replace(b"\n", b"\n" + mark) + b"\n"
    return marked if data.endswith(b"\n") else marked + _NO_NEWLINE


def _range(start: int, count: int) -> str:
    """Return the header's range of a hunk that begins after `start` lines."""
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"
