"""The parts of a parsed patch (files, hunks, lines) and their limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from typing import Literal, TypeAlias

MAX_PATCH_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 20
# The limit for the total size of all files of a patch, before and after, which are kept in memory.
MAX_TOTAL_BYTES = 64 << 20
MAX_FILES = 1000
MAX_HUNKS = 10_000
MAX_NAME_BYTES = 4095
MAX_COMPONENT_BYTES = 255
MAX_DEPTH = 100

Mark: TypeAlias = Literal[" ", "-", "+"]
# A line's mark, and its bytes with the file's line end: LF, CRLF, or none at the end of a file.
HunkLine: TypeAlias = tuple[Mark, bytes]


class Action(StrEnum):
    """The action of a patch on one file."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers of a hunk's header: `None` if missing, except that an omitted count is 1."""

    old_start: int | None = None
    old_count: int | None = None
    new_start: int | None = None
    new_count: int | None = None


@dataclass(frozen=True)
class Hunk:
    """A run of lines to be replaced, with the unchanged lines around it."""

    number: int
    patch_line: int
    range: Range
    lines: tuple[HunkLine, ...]
    # Lines of the file that precede the hunk, if its header has these instead of numbers.
    headings: tuple[bytes, ...] = ()
    # The hunk ends at the end of the file.
    at_end: bool = False

    @cached_property
    def old(self) -> list[bytes]:
        """Return the expected lines."""
        return [body for mark, body in self.lines if mark != "+"]

    @cached_property
    def new(self) -> list[bytes]:
        """Return the resulting lines."""
        return [body for mark, body in self.lines if mark != "-"]

    @cached_property
    def leading(self) -> int:
        """Return the number of unchanged lines before the first change."""
        return sum(1 for _ in takewhile(lambda line: line[0] == " ", self.lines))

    @cached_property
    def trailing(self) -> int:
        """Return the number of unchanged lines after the last change."""
        return sum(1 for _ in takewhile(lambda line: line[0] == " ", reversed(self.lines)))

    @property
    def added(self) -> int:
        """Return the number of added lines."""
        return sum(1 for mark, _ in self.lines if mark == "+")

    @property
    def removed(self) -> int:
        """Return the number of removed lines."""
        return sum(1 for mark, _ in self.lines if mark == "-")

    @property
    def miscounted(self) -> bool:
        """Return whether the header has counts that are wrong."""
        counts = (self.range.old_count, self.range.new_count)
        return None not in counts and counts != (len(self.old), len(self.new))


@dataclass(frozen=True, slots=True)
class FilePatch:
    """One section of a patch, about one file."""

    patch_line: int
    action: Action
    # Names as written, unquoted; `None` means /dev/null.
    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...]
    # The names are paths without a prefix such as a/.
    bare: bool = False
    # The names differ only in their first component, so these are prefixes such as a/ and b/.
    prefixed: bool = False
    executable: bool | None = None
    # The file is deleted whatever its content; otherwise the hunks must cover all of it.
    unconditional: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch, with its files in order."""

    files: tuple[FilePatch, ...]

    @property
    def bare(self) -> bool:
        """Return whether the patch names files without prefixes, judging by the files that it modifies."""
        prefixed = any(file.prefixed for file in self.files)
        plain = any(
            file.old is not None and file.old == file.new and not file.old.startswith(("a/", "b/"))
            for file in self.files
        )
        return plain and not prefixed
