"""One file's change in git's patch format, as `git apply` takes it.

There is no patch for changes that git's text patches can't express: directories, devices, content that is not UTF-8
text, permissions other than the executable bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTED_BYTES = {
    **{code: f"\\{code:03o}" for code in (*range(0x20), *range(0x7F, 0x100))},
    0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r",
    0x22: '\\"', 0x5C: "\\\\",
}  # fmt: skip
# Characters that git would quote, or that would make a person read another name than the real one.
_ODD = re.compile('[\x00-\x1f\x7f-\xa0"\\\\\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]')

_GIT_DIRECTORIES = frozenset({b".git", b"git~1"})
# What Windows calls `.gitmodules` in eight characters and three; no link may have that name.
_MODULES = re.compile(rb"\.gitmodules|gitmod~[0-9]|gi[0-9a-f]{1,4}~[0-9]+")

EXECUTABLE, REGULAR, SYMLINK = "100755", "100644", "120000"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file or a symbolic link as git knows it: its mode, and its content (a link's is its target)."""

    mode: str
    data: bytes

    @property
    def is_link(self) -> bool:
        """Say whether it is a symbolic link."""
        return self.mode == SYMLINK


def file_mode(mode: int) -> str:
    """Return the mode that git has for a file with these permissions."""
    return EXECUTABLE if mode & 0o100 else REGULAR


def creation(path: bytes, new: Blob, hunks: bytes) -> bytes:
    """Return the section for a file that is new."""
    return _section(path, [f"new file mode {new.mode}"], hunks, old=False)


def deletion(path: bytes, old: Blob, hunks: bytes) -> bytes:
    """Return the section for a file that is gone."""
    return _section(path, [f"deleted file mode {old.mode}"], hunks, new=False)


def modification(path: bytes, old_mode: str, new_mode: str, hunks: bytes) -> bytes:
    """Return the section for a file that is another now; empty if git sees no difference."""
    modes = [f"old mode {old_mode}", f"new mode {new_mode}"] if old_mode != new_mode else []
    return _section(path, modes, hunks) if modes or hunks else b""


def _section(path: bytes, lines: list[str], hunks: bytes, *, old: bool = True, new: bool = True) -> bytes:
    before, after = quoted(b"a/" + path), quoted(b"b/" + path)
    head = [f"diff --git {before} {after}", *lines]
    if hunks:
        head += [f"--- {_ended(before) if old else '/dev/null'}", f"+++ {_ended(after) if new else '/dev/null'}"]
    return "\n".join([*head, ""]).encode() + hunks


def _ended(name: str) -> str:
    # Where a name holds blanks, git marks its end: what follows could be a date.
    return name + "\t" if " " in name and not name.startswith('"') else name


def is_gits_own(path: bytes, *, is_link: bool) -> bool:
    """Say whether `git apply` refuses to touch a path: what is in a `.git`, however that is spelled.

    One such path would make it refuse the whole patch. See verify_path in git's read-cache.c.
    """
    parts = [_as_windows_sees(part) for part in path.split(b"/")]
    return not _GIT_DIRECTORIES.isdisjoint(parts) or (is_link and _MODULES.fullmatch(parts[-1]) is not None)


def _as_windows_sees(name: bytes) -> bytes:
    # Git is as strict everywhere: Windows takes `.GIT. ` and `.git::$INDEX_ALLOCATION` for the same directory.
    return name.partition(b":")[0].rstrip(b" .").lower()


def quoted(name: bytes) -> str:
    """Return a name as it stands in a header: in quotes, with escapes, if it has to be."""
    text = name.decode("utf-8", "surrogateescape")
    if not _ODD.search(text):
        return text
    return '"' + "".join(_QUOTED_BYTES.get(byte) or chr(byte) for byte in name) + '"'
