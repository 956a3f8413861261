"""Hunks of a unified diff for pairs of texts, from one bounded run of the program `diff`.

Python's own difflib is quadratic, and a guest wrote the input. Pairs are numbered: no name that a guest chose reaches a
command line or a directory of the host. If the comparison takes too long, the patch replaces the whole file, which
applies as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
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


def replacement(old: bytes, new: bytes) -> Hunks:
    """Return the one hunk that takes all lines of the one text away, and adds all of the other."""
    if old == new:
        return Hunks(b"", 0, 0)
    removed, added = _lines(old), _lines(new)
    head = f"@@ -{_range(len(removed))} +{_range(len(added))} @@\n".encode()
    data = head + _marked(b"-", removed) + _marked(b"+", added)
    return Hunks(data, len(added), len(removed))


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
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory_fd)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def _by_number(output: bytes) -> dict[int, bytes]:
    r"""Part what `diff -r` printed. Lines of hunks begin with a blank, -, + or \, so that no text looks like ours."""
    found: dict[int, bytes] = {}
    for section in (b"\n" + output).split(b"\ndiff ")[1:]:
        command, _old, _new, *hunks = section.split(b"\n", 3)
        if hunks:
            found[int(command.rpartition(b"/")[2])] = hunks[0] if hunks[0].endswith(b"\n") else hunks[0] + b"\n"
    return found


def _counted(data: bytes) -> Hunks:
    lines = data.split(b"\n")
    return Hunks(data, sum(line[:1] == b"+" for line in lines), sum(line[:1] == b"-" for line in lines))


def _lines(data: bytes) -> list[bytes]:
    """Return the lines with their ends; only a newline ends one."""
    lines = data.split(b"\n")
    rest = lines.pop()
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _marked(mark: bytes, lines: list[bytes]) -> bytes:
    data = b"".join([mark + line for line in lines])
    return data if not data or data.endswith(b"\n") else data + b"\n" + _NO_NEWLINE


def _range(count: int) -> str:
    match count:
        case 0:
            return "0,0"
        case 1:
            return "1"
        case _:
            return f"1,{count}"
