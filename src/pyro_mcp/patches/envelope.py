"""The patch format that Codex models are trained on: files between `*** Begin Patch` and `*** End Patch`.

Its lines are `*** Add File:`, `*** Update File:`, `*** Move to:`, `*** Delete File:`, `*** End of File`, and @@
headings instead of line numbers. Unlike in Codex, a hunk must fit exactly, and in only one place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyro_mcp.errors import PyroError
from pyro_mcp.patches.failures import malformed, visible, within_hunk
from pyro_mcp.patches.hunks import goes_on, is_file_header, is_hunk_header, read_header, read_hunk
from pyro_mcp.patches.names import header_name
from pyro_mcp.patches.parts import MAX_FILES, MAX_HUNKS, Action, FilePatch, Hunk, Range

_FILE = re.compile(rb"\*\*\* (?P<said>Add|Update|Delete) File: *(?P<name>.+)$")
_MOVE = re.compile(rb"\*\*\* Move to: *(?P<name>.+)$")
_END_OF_FILE = b"*** End of File"
_BEGIN = b"*** Begin Patch"
_END = b"*** End Patch"
_HINT = (
    "After `*** Update File: PATH` come hunks, each beginning with @@, after `*** Add File: PATH` lines that all begin"
    " with +; then the next file or `*** End Patch`."
)


def begins_file(line: bytes) -> bool:
    """Return whether the line begins a file in this format."""
    return line.startswith(b"*** ") and _FILE.match(line.rstrip()) is not None


def read_envelope(lines: Sequence[bytes]) -> tuple[FilePatch, ...]:
    """Read all files of a patch in this format.

    Raises:
        PyroError: a part of it can't be read.
    """
    files: list[FilePatch] = []
    at = hunks = 0
    inside = False
    while at < len(lines):
        line = lines[at].rstrip()
        match = _FILE.match(line)
        if match is None:
            # If the last line is missing, the end of the code block ends the patch.
            inside = inside and line != _END and not line.startswith(b"```")
            _refuse_stray(lines, at, inside=inside)
            at += 1
            continue
        inside = True
        file, at = _read_file(lines, at, match["said"], match["name"])
        files.append(file)
        hunks += len(file.hunks)
        if len(files) > MAX_FILES or hunks > MAX_HUNKS:
            raise malformed(
                file.patch_line,
                f"is beyond the {MAX_FILES} files and {MAX_HUNKS} hunks that a patch may have",
                hint="Send it in smaller parts.",
                reason="too_large",
            )
    return tuple(files)


def _refuse_stray(lines: Sequence[bytes], at: int, *, inside: bool) -> None:
    line = lines[at].rstrip()
    if (inside and line and line != _BEGIN) or is_hunk_header(line):
        raise malformed(at + 1, f'("{visible(line, limit=80)}") belongs to no hunk of a file', hint=_HINT)


def _read_file(lines: Sequence[bytes], at: int, said: bytes, raw_name: bytes) -> tuple[FilePatch, int]:
    patch_line = at + 1
    name = header_name(raw_name, patch_line)
    if name is None:
        raise malformed(patch_line, "names /dev/null", hint=_HINT)
    at += 1
    match said:
        case b"Delete":
            return FilePatch(patch_line, Action.DELETE, name, None, (), bare=True, unconditional=True), at
        case b"Add":
            hunks, at = _read_new_file(lines, at)
            return FilePatch(patch_line, Action.CREATE, None, name, hunks, bare=True), at
        case _:
            return _read_update(lines, at, name, patch_line)


def _read_new_file(lines: Sequence[bytes], at: int) -> tuple[tuple[Hunk, ...], int]:
    if at < len(lines) and is_hunk_header(lines[at]):
        at += 1
    if not goes_on(lines, at):
        return (), at
    hunk, at = read_hunk(lines, at, Range(), (), number=1, new_file=True)
    return (hunk,), at


def _read_update(lines: Sequence[bytes], at: int, name: str, patch_line: int) -> tuple[FilePatch, int]:
    target = name
    if at < len(lines) and (move := _MOVE.match(lines[at].rstrip())):
        target = header_name(move["name"], at + 1) or name
        at += 1
    # Models that know both formats may write the names twice.
    if is_file_header(lines, at):
        at += 2
    hunks: list[Hunk] = []
    while at < len(lines) and (is_hunk_header(lines[at]) or lines[at].startswith((b" ", b"+", b"-"))):
        hunk, at = _read_update_hunk(lines, at, name, len(hunks) + 1)
        hunks.append(hunk)
        while at < len(lines) and not lines[at].strip():
            at += 1
    if not hunks and target == name:
        raise malformed(patch_line, f'names "{visible(name)}" but no change of it follows', hint=_HINT)
    action = Action.MODIFY if target == name else Action.RENAME
    return FilePatch(patch_line, action, name, target, tuple(hunks), bare=True), at


def _read_update_hunk(lines: Sequence[bytes], at: int, name: str, number: int) -> tuple[Hunk, int]:
    ranges = Range()
    headings: list[bytes] = []
    # Consecutive headings narrow down the place: the class, then its method.
    while at < len(lines) and is_hunk_header(lines[at]):
        ranges, more = read_header(lines[at])
        headings += more
        at += 1
    try:
        hunk, at = read_hunk(lines, at, ranges, tuple(headings), number=number)
    except PyroError as failure:
        raise within_hunk(failure, name, number) from None
    if at < len(lines) and lines[at].rstrip() == _END_OF_FILE:
        return Hunk(hunk.number, hunk.patch_line, hunk.range, hunk.lines, hunk.headings, at_end=True), at + 1
    return hunk, at
