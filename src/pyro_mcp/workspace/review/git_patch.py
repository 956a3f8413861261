"""One file's change in git's patch format, for `git apply`.

Git's patches can't express directories, devices, or permissions other than the executable bit.
"""

from __future__ import annotations

import base64
import re
import zlib

_QUOTED_BYTES = {
    **{code: f"\\{code:03o}" for code in (*range(0x20), *range(0x7F, 0x100))},
    0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r",
    0x22: '\\"', 0x5C: "\\\\",
}  # fmt: skip
# Characters that git would quote, or that would make a name look like another one.
_ODD = re.compile('[\x00-\x1f\x7f-\xa0"\\\\\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]')

_GIT_DIRECTORIES = frozenset({b".git", b"git~1"})
# The short (8.3) names of `.gitmodules` on Windows; no link may have such a name.
_MODULES = re.compile(rb"\.gitmodules|gitmod~[0-9]|gi[0-9a-f]{1,4}~[0-9]+")

_LINE_BYTES = 52
_LENGTHS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EXECUTABLE, REGULAR, SYMLINK = "100755", "100644", "120000"


def file_mode(mode: int) -> str:
    """Return git's mode for a file with these permissions."""
    return EXECUTABLE if mode & 0o100 else REGULAR


def creation(path: bytes, mode: str, hunks: bytes, index: str = "") -> bytes:
    """Return the section for a new file. With an `index`, the hunks are binary."""
    return _section(path, [f"new file mode {mode}"], hunks, index, old=False)


def deletion(path: bytes, mode: str, hunks: bytes, index: str = "") -> bytes:
    """Return the section for a deleted file."""
    return _section(path, [f"deleted file mode {mode}"], hunks, index, new=False)


def modification(path: bytes, old_mode: str, new_mode: str, hunks: bytes, index: str = "") -> bytes:
    """Return the section for a modified file; empty if git sees no difference."""
    modes = [f"old mode {old_mode}", f"new mode {new_mode}"] if old_mode != new_mode else []
    return _section(path, modes, hunks, index) if modes or hunks else b""


def rename(old_path: bytes, new_path: bytes, old_mode: str, new_mode: str) -> bytes:
    """Return the section for a moved file."""
    modes = [f"old mode {old_mode}", f"new mode {new_mode}"] if old_mode != new_mode else []
    names = [f"rename from {quoted(old_path)}", f"rename to {quoted(new_path)}"]
    head = f"diff --git {quoted(b'a/' + old_path)} {quoted(b'b/' + new_path)}"
    return "\n".join([head, *modes, "similarity index 100%", *names, ""]).encode()


def binary_hunks(old: bytes, new: bytes) -> bytes:
    """Return the binary hunks from one content to the other, and back."""
    return b"GIT binary patch\n" + _literal(new) + _literal(old)


def index_line(old: bytes | None, new: bytes | None) -> str:
    """Return the index line that git requires before binary hunks: the full blob names of both contents."""
    return f"index {_blob_name(old)}..{_blob_name(new)}"


def _blob_name(data: bytes | None) -> str:
    if data is None:
        return "0" * 40
    from hashlib import sha1

    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _literal(data: bytes) -> bytes:
    """Encode content as git does: lines of up to 52 bytes in base 85, each after a letter for its length."""
    packed = zlib.compress(data)
    lines = [b"literal %d\n" % len(data)]
    for at in range(0, len(packed), _LINE_BYTES):
        piece = packed[at : at + _LINE_BYTES]
        lines.append(_LENGTHS[len(piece) - 1 : len(piece)] + base64.b85encode(piece, pad=True) + b"\n")
    return b"".join([*lines, b"\n"])


def _section(
    path: bytes, lines: list[str], hunks: bytes, index: str = "", *, old: bool = True, new: bool = True
) -> bytes:
    before, after = quoted(b"a/" + path), quoted(b"b/" + path)
    head = [f"diff --git {before} {after}", *lines]
    if hunks and index:
        head.append(index)
    elif hunks:
        head += [f"--- {_ended(before) if old else '/dev/null'}", f"+++ {_ended(after) if new else '/dev/null'}"]
    return "\n".join([*head, ""]).encode() + hunks


def _ended(name: str) -> str:
    # Git ends a name that contains spaces with a tab: what follows could be a date.
    return name + "\t" if " " in name and not name.startswith('"') else name


def is_gits_own(path: bytes, *, is_link: bool) -> bool:
    """Return whether `git apply` rejects a path, as it does for anything in a `.git`, however that is spelled.

    One such path would make it reject the whole patch. See verify_path in git's read-cache.c.
    """
    parts = [_as_windows_sees(part) for part in path.split(b"/")]
    return not _GIT_DIRECTORIES.isdisjoint(parts) or (is_link and _MODULES.fullmatch(parts[-1]) is not None)


def _as_windows_sees(name: bytes) -> bytes:
    # On Windows `.GIT. ` and `.git::$INDEX_ALLOCATION` are the same directory, so git rejects them everywhere.
    return name.partition(b":")[0].rstrip(b" .").lower()


def quoted(name: bytes) -> str:
    """Return a name as written in a header, quoted and escaped if necessary."""
    text = name.decode("utf-8", "surrogateescape")
    if not _ODD.search(text):
        return text
    return '"' + "".join(_QUOTED_BYTES.get(byte) or chr(byte) for byte in name) + '"'
