"""Parse unified diffs written by git, diff, hg, svn and models into files and hunks.

Changes that can't be applied as text are refused: binary patches, links, submodules, combined diffs of merges, context
diffs. Text between the files of a patch is skipped, as in git.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyro_mcp.errors import PyroError
from pyro_mcp.patches.envelope import begins_file
from pyro_mcp.patches.failures import malformed, named, within_hunk
from pyro_mcp.patches.hunks import is_file_header, is_hunk_header, read_header, read_hunk
from pyro_mcp.patches.names import git_names, header_name, share_a_file
from pyro_mcp.patches.parts import MAX_FILES, MAX_HUNKS, Action, FilePatch, Hunk

_HEADER_HINT = "Begin each file with its two lines, --- a/PATH and +++ b/PATH (/dev/null for a file that is not there)."
_BINARY = re.compile(rb"(?:GIT binary patch$|(?:Binary files|Files) .* differ$)")
_MODE = re.compile(rb"(?P<said>old mode|new mode|new file mode|deleted file mode) (?P<mode>[0-7]{1,7})$")
_INDEX = re.compile(rb"index [0-9a-f]+\.\.[0-9a-f]+(?: (?P<mode>[0-7]{6}))?$")
_NAMED = re.compile(rb"(?P<said>(?:rename|copy) (?:from|to|old|new)) (?P<name>.+)$")
_PASSED_OVER = (b"similarity index ", b"dissimilarity index ")


class _Section:
    """Collects the headers and hunks of one file."""

    def __init__(self, patch_line: int, *, git: bool) -> None:
        self.patch_line = patch_line
        self.git = git
        # The names in the `diff --git` line, for sections without other names.
        self.line_names: tuple[str, str] | None = None
        self.header_names: tuple[str | None, str | None] | None = None
        self.moved: dict[str, str] = {}
        self.modes: dict[str, int] = {}
        self.hunks: list[Hunk] = []

    def build(self) -> FilePatch:
        """Return the file's part of the patch, or raise if headers are missing."""
        source = self.moved.get("rename from") or self.moved.get("copy from")
        target = self.moved.get("rename to") or self.moved.get("copy to")
        if source is not None and target is not None:
            action = Action.RENAME if "rename from" in self.moved else Action.COPY
            return self._file(action, source, target, bare=True)
        if self.moved:
            raise self._failure("begins a file that is renamed or copied, but not both of its names are given")
        old, new = self._names()
        if old is None and new is None:
            raise self._failure("begins a file without a name: both are /dev/null")
        if not self.hunks and (self.header_names is not None or not self.modes):
            raise self._failure(
                f"names {named(self.shown_name())}, but no change of it follows",
                hint="Add the hunks of that file, each beginning with @@, or leave the file out.",
            )
        if old is None or "new file mode" in self.modes:
            return self._file(Action.CREATE, None, new or old)
        if new is None or "deleted file mode" in self.modes:
            return self._file(Action.DELETE, old, None)
        return self._file(Action.MODIFY, old, new)

    def shown_name(self) -> str:
        """Return the file's name for messages."""
        old, new = self.header_names or self.line_names or (None, None)
        return (new or old or "?").removeprefix("a/").removeprefix("b/")

    def _names(self) -> tuple[str | None, str | None]:
        names = self.header_names or self.line_names
        if names is None:
            raise self._failure("begins a file whose name can't be told")
        return names

    def _file(self, action: Action, old: str | None, new: str | None, *, bare: bool = False) -> FilePatch:
        mode = self.modes.get("new file mode", self.modes.get("new mode"))
        return FilePatch(
            self.patch_line,
            action,
            old,
            new,
            tuple(self.hunks),
            bare=bare,
            prefixed=not bare and self._prefixed(),
            executable=None if mode is None else bool(mode & 0o100),
        )

    def _prefixed(self) -> bool:
        pairs = [pair for pair in (self.header_names, self.line_names) if pair is not None]
        return any(old is not None and new is not None and share_a_file(old, new) for old, new in pairs)

    def _failure(self, text: str, *, hint: str = _HEADER_HINT) -> PyroError:
        return malformed(self.patch_line, text, hint=hint)


def read_unified(lines: Sequence[bytes]) -> tuple[FilePatch, ...]:
    """Read all files of a unified diff.

    Raises:
        PyroError: if a part is malformed or not supported.
    """
    reader = _Reader(lines)
    while reader.at < len(lines):
        reader.step()
    reader.finish()
    return tuple(reader.files)


class _Reader:
    """Reads the lines of a patch, one part at a time."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.at = 0
        self.files: list[FilePatch] = []
        self._lines = lines
        self._section: _Section | None = None
        self._hunks = 0

    def step(self) -> None:
        """Read the part of the patch that begins at the current line, or skip the line."""
        line = self._lines[self.at]
        if line.startswith(b"diff --git "):
            self._begin(git=True).line_names = git_names(line[len(b"diff --git ") :])
            self.at += 1
            self._extended_headers()
        elif is_file_header(self._lines, self.at):
            self._name_lines()
        elif is_hunk_header(line):
            self._hunk()
        else:
            self._refuse_other_kinds(line.rstrip(b"\r\n"))
            self.at += 1

    def finish(self) -> None:
        """Add the file being read."""
        if self._section is not None:
            if len(self.files) == MAX_FILES:
                raise malformed(
                    self._section.patch_line,
                    f"begins one file more than the {MAX_FILES} that a patch may have",
                    hint="Send it in smaller parts.",
                    reason="too_large",
                )
            self.files.append(self._section.build())
        self._section = None

    def _begin(self, *, git: bool) -> _Section:
        self.finish()
        self._section = _Section(self.at + 1, git=git)
        return self._section

    def _extended_headers(self) -> None:
        section = self._section
        while section is not None and self.at < len(self._lines):
            line = self._lines[self.at].rstrip(b"\r\n")
            if mode := _MODE.match(line):
                self._refuse_special(int(mode["mode"], 8))
                section.modes[mode["said"].decode()] = int(mode["mode"], 8)
            elif moved := _NAMED.match(line):
                self._move(section, moved["said"].decode(), moved["name"])
            elif index := _INDEX.match(line):
                if index["mode"]:
                    self._refuse_special(int(index["mode"], 8))
            elif not line.startswith(_PASSED_OVER):
                return
            self.at += 1

    def _move(self, section: _Section, said: str, raw: bytes) -> None:
        # The oldest versions of git wrote "rename old" and "rename new".
        said = said.replace("old", "from").replace("new", "to")
        name = header_name(raw, self.at + 1)
        if name is None:
            raise malformed(self.at + 1, "renames or copies /dev/null", hint=_HEADER_HINT)
        section.moved[said] = name

    def _name_lines(self) -> None:
        """Read a --- line and the +++ line after it."""
        section = self._section
        # These two lines belong to the preceding `diff --git` line; without one they begin a file.
        if section is None or not section.git or section.header_names is not None or section.hunks:
            section = self._begin(git=False)
        old = header_name(self._lines[self.at][4:], self.at + 1)
        new = header_name(self._lines[self.at + 1][4:], self.at + 2)
        section.header_names = (old, new)
        self.at += 2

    def _hunk(self) -> None:
        if self._section is None:
            raise malformed(self.at + 1, "begins a hunk, but no file is named before it", hint=_HEADER_HINT)
        self._hunks += 1
        if self._hunks > MAX_HUNKS:
            raise malformed(
                self.at + 1,
                f"begins one hunk more than the {MAX_HUNKS} that a patch may have",
                hint="Send it in smaller parts.",
                reason="too_large",
            )
        ranges, headings = read_header(self._lines[self.at])
        names = self._section.header_names
        new_file = "new file mode" in self._section.modes or (names is not None and names[0] is None)
        number = len(self._section.hunks) + 1
        try:
            hunk, self.at = read_hunk(self._lines, self.at + 1, ranges, headings, number=number, new_file=new_file)
        except PyroError as failure:
            raise within_hunk(failure, self._section.shown_name(), number) from None
        self._section.hunks.append(hunk)

    def _of_file(self) -> str:
        return f" of {named(self._section.shown_name())}" if self._section is not None else ""

    def _refuse_special(self, mode: int) -> None:
        kinds = {0o120000: "a symbolic link", 0o160000: "a submodule", 0o040000: "a directory"}
        kind = kinds.get(mode & 0o170000)
        if kind is None and mode & 0o170000 == 0o100000:
            return
        what = kind or "no kind of file that git knows"
        raise malformed(
            self.at + 1,
            f"gives the mode {mode:06o}{self._of_file()}, which is {what}: patches change regular files only",
            hint="Make links and submodules by a command in the workspace (ln -s, git submodule).",
            reason="special_file",
        )

    def _refuse_other_kinds(self, line: bytes) -> None:
        lines, at = self._lines, self.at
        if _BINARY.match(line):
            raise malformed(
                at + 1,
                f"begins a binary change{self._of_file()}: patches change text only",
                hint="Bring binary files in by sync push, and leave them out of the patch.",
                reason="binary",
            )
        if line.startswith((b"diff --cc ", b"diff --combined ", b"@@@ ")):
            raise malformed(
                at + 1,
                "begins the combined diff of a merge, which has several old sides",
                hint="Make the patch against one parent: git diff HEAD^1.",
                reason="combined",
            )
        if line.startswith(b"***************") and at >= 2 and lines[at - 2].startswith(b"*** "):
            raise malformed(
                at + 1, "begins a context diff", hint="Make a unified diff: diff -u.", reason="context_diff"
            )
        if begins_file(line):
            raise malformed(
                at + 1,
                "begins a file in Codex's format after others in git's",
                hint="Send all files of the patch in one of the two formats.",
                reason="two_formats",
            )
        follower = lines[at + 1] if at + 1 < len(lines) else b""
        if line.startswith((b"--- ", b"+++ ")) and is_hunk_header(follower):
            raise malformed(at + 1, "names one side of a file only", hint=_HEADER_HINT)
