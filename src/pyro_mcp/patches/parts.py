"""The parts of a parsed patch (files, hunks, lines) and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from typing import Literal, TypeAlias

MAX_PATCH_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 20
# All files that one patch touches, before and after: what the caller's memory has to hold.
MAX_TOTAL_BYTES = 64 << 20
MAX_FILES = 1000
MAX_HUNKS = 10_000
MAX_NAME_BYTES = 4095
MAX_COMPONENT_BYTES = 255
MAX_DEPTH = 100

Mark: TypeAlias = Literal[" ", "-", "+"]
# A line's mark and its bytes with the line end that belongs to the file: LF, CRLF, or none at the end of a file.
HunkLine: TypeAlias = tuple[Mark, bytes]


class Action(StrEnum):
    """Say what a patch does with one file."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Range:
    """Hold the numbers of a hunk's header; `None` where it has none, and a count of 1 where it is left out."""

    old_start: int | None = None
    old_count: int | None = None
    new_start: int | None = None
    new_count: int | None = None


@dataclass(frozen=True)
class Hunk:
    """Hold one run of lines to be replaced, with the unchanged lines around it."""

    number: int
    patch_line: int
    range: Range
    lines: tuple[HunkLine, ...]
    # Lines of the file that the hunk stands after, where its header says so instead of giving numbers.
    headings: tuple[bytes, ...] = ()
    # The hunk ends where the file ends.
    at_end: bool = False

    @cached_property
    def old(self) -> list[bytes]:
        """Return the lines that it expects."""
        return [body for mark, body in self.lines if mark != "+"]

    @cached_property
    def new(self) -> list[bytes]:
        """Return the lines that it leaves."""
        return [body for mark, body in self.lines if mark != "-"]

    @cached_property
    def leading(self) -> int:
        """Return how many unchanged lines stand before the first change."""
        return sum(1 for _ in takewhile(lambda line: line[0] == " ", self.lines))

    @cached_property
    def trailing(self) -> int:
        """Return how many unchanged lines stand after the last change."""
        return sum(1 for _ in takewhile(lambda line: line[0] == " ", reversed(self.lines)))

    @property
    def added(self) -> int:
        """Count its added lines."""
        return sum(1 for mark, _ in self.lines if mark == "+")

    @property
    def removed(self) -> int:
        """Count its removed lines."""
        return sum(1 for mark, _ in self.lines if mark == "-")

    @property
    def miscounted(self) -> bool:
        """Say whether the header's counts are there and wrong."""
        counts = (self.range.old_count, self.range.new_count)
        return None not in counts and counts != (len(self.old), len(self.new))


@dataclass(frozen=True, slots=True)
class FilePatch:
    """Hold all that one section of a patch says about one file."""

    patch_line: int
    action: Action
    # Names as written, unquoted; `None` stands for /dev/null.
    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...]
    # The names are paths already: no prefix such as a/ is to be taken off.
    bare: bool = False
    # The names differ in their first component only, in a header that says no more: a prefix such as a/ and b/.
    prefixed: bool = False
    executable: bool | None = None
    # The file goes whatever is in it; otherwise the hunks must account for all of it.
    unconditional: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """Hold a patch that has been read, file by file in its order."""

    files: tuple[FilePatch, ...]

    @property
    def bare(self) -> bool:
        """Say whether the patch names files without prefixes, judged by the files that it modifies."""
        prefixed = any(file.prefixed for file in self.files)
        plain = any(
            file.old is not None and file.old == file.new and not file.old.startswith(("a/", "b/"))
            for file in self.files
        )
        return plain and not prefixed
