"""File names in patches: quoting, timestamps and prefixes, and names that are refused.

Names are refused if they lead outside the workspace, would be executed by git or as a hook, or are invalid in any file
system. `planning`, which knows the tree, decides between alternative spellings.
"""

from __future__ import annotations

import re

from pyro_mcp.errors import PyroError
from pyro_mcp.patches.failures import malformed, refused
from pyro_mcp.patches.parts import MAX_COMPONENT_BYTES, MAX_DEPTH, MAX_NAME_BYTES

# "/dev/null", also with the prefixes that models may add.
NO_FILE = frozenset({"/dev/null", "a/dev/null", "b/dev/null"})
PREFIXES = ("a/", "b/")

_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r",
    b'"': b'"', b"\\": b"\\",
}  # fmt: skip
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
# diff, hg and svn append this to a name: a date and time, or a revision in parentheses.
_DATED = re.compile(
    rb"[ \t]+(?:"
    rb"\d{4}-\d\d-\d\d[ \t]+\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[ \t]+(?:[+-]\d{4}|[A-Z]{1,5}))?"
    rb"|[A-Z][a-z]{2}[ \t]+[A-Z][a-z]{2}[ \t]+\d{1,2}[ \t]+\d\d:\d\d:\d\d[ \t]+\d{4}(?:[ \t]+[+-]\d{4})?"
    rb"|\((?:revision|working copy|nonexistent)[^()]*\)"
    rb")[ \t]*$"
)
_MAX_DATE_BYTES = 64
# `diff -N` gives a missing side the time of the epoch, in any time zone.
_EPOCH = re.compile(rb"(1970-01-01|1969-12-31) (\d\d):(\d\d):00(?:\.0+)? ([+-])(\d\d)(\d\d)\s*$")
_RELATIVE_HINT = "Name files below /workspace, such as src/app.py."


def decode_name(raw: bytes) -> str:
    """Decode a name like `os.fsdecode`: bytes that are not UTF-8 become lone surrogates.

    A name below /workspace, as accepted by all other calls, becomes relative.
    """
    return raw.decode("utf-8", "surrogateescape").removeprefix("/workspace/")


def unquote(raw: bytes) -> bytes | None:
    """Return the content of a name quoted in git's C style, or None if it is malformed."""
    whole = _QUOTED.fullmatch(raw)
    if whole is None:
        return None
    unknown = False

    def plain(match: re.Match[bytes]) -> bytes:
        nonlocal unknown
        escape: bytes = match[1]
        if len(escape) == 3:
            return bytes([int(escape, 8)])
        unknown = unknown or escape not in _ESCAPES
        return _ESCAPES.get(escape, b"")

    text = _ESCAPE.sub(plain, whole[1])
    return None if unknown else text


def header_name(raw: bytes, patch_line: int) -> str | None:
    """Return the name that follows `---`, `+++`, `rename from` and the like, or None for /dev/null.

    Raises:
        PyroError: if the name is missing, or its quoting is malformed.
    """
    raw = raw.rstrip(b"\r\n")
    if raw.startswith(b'"'):
        quoted = _QUOTED.match(raw)
        text = unquote(quoted[0]) if quoted else None
        if text is None:
            raise malformed(patch_line, "has a quoted file name that is not well formed", hint=_RELATIVE_HINT)
    else:
        if len(raw) > 2 * MAX_NAME_BYTES:
            raise malformed(patch_line, "has a file name that is too long", hint=_RELATIVE_HINT)
        text, tab, date = raw.partition(b"\t")
        if not tab:
            text = _undated(raw.rstrip())
        elif _is_epoch(date):
            return None
    if not text:
        raise malformed(patch_line, "names no file", hint=_RELATIVE_HINT)
    name = decode_name(text)
    return None if name in NO_FILE else name


def _is_epoch(date: bytes) -> bool:
    match = _EPOCH.match(date)
    if match is None:
        return False
    day, hours, minutes, sign, zone_hours, zone_minutes = match.groups()
    local = int(hours) * 60 + int(minutes) - (24 * 60 if day.startswith(b"1969") else 0)
    zone = int(zone_hours) * 60 + int(zone_minutes)
    return local == (zone if sign == b"+" else -zone)


def _undated(raw: bytes) -> bytes:
    # Search only the end: the pattern's cost is quadratic in the length of a run of blanks.
    date = _DATED.search(raw, max(0, len(raw) - _MAX_DATE_BYTES))
    return raw[: date.start()].rstrip() if date else raw


def git_names(raw: bytes) -> tuple[str, str] | None:
    """Return the two names of a `diff --git` line if they denote the same file, or None if that is ambiguous.

    As in git, unquoted names with spaces are separated where both are equal after their first component.
    """
    raw = raw.rstrip(b"\r\n")
    if len(raw) > 2 * MAX_NAME_BYTES + 16:
        return None
    if b'"' in raw:
        return _quoted_git_names(raw)
    middle = len(raw) // 2
    if raw[middle : middle + 1] == b" " and raw[:middle] == raw[middle + 1 :]:
        return decode_name(raw[:middle]), decode_name(raw[:middle])
    for space in re.finditer(rb" ", raw):
        left, right = raw[: space.start()], raw[space.end() :]
        tail = left.partition(b"/")[2]
        if tail and right.partition(b"/")[2] == tail:
            return decode_name(left), decode_name(right)
    return None


def _quoted_git_names(raw: bytes) -> tuple[str, str] | None:
    if raw.startswith(b'"'):
        first = _QUOTED.match(raw)
        if first is None:
            return None
        left, right = first[0], raw[first.end() :].lstrip(b" ")
    else:
        left, _, right = raw.partition(b" ")
        if not right.startswith(b'"'):
            return None
    parts = [unquote(part) if part.startswith(b'"') else part for part in (left, right)]
    if parts[0] is None or parts[1] is None:
        return None
    return decode_name(parts[0]), decode_name(parts[1])


def share_a_file(old: str, new: str) -> bool:
    """Return whether two names differ only in their first component, like a/x and b/x."""
    left, right = old.partition("/"), new.partition("/")
    return bool(left[2]) and left[2] == right[2] and left[0] != right[0]


def without_prefix(name: str) -> str:
    """Return the name without its first component."""
    return name.partition("/")[2]


def checked_path(name: str, patch_line: int) -> str:
    """Return the normalized path below the workspace for a name.

    Raises:
        PyroError: if the name leads outside or into a `.git`, or is invalid.
    """
    raw = name.encode("utf-8", "surrogateescape")

    def refuse(text: str, hint: str = _RELATIVE_HINT) -> PyroError:
        return refused(name, text, hint=hint, reason="path", patch_line=patch_line)

    if b"\0" in raw:
        raise refuse("a file name can't hold a NUL byte")
    # With a prefix before it, as in a//workspace/x.
    name = name.removeprefix("/workspace/")
    if name.startswith("/"):
        raise refuse("the path is absolute")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or name.endswith(("/", "/.")):
        raise refuse("that names a directory, not a file")
    if ".." in parts:
        raise refuse("the path has '..' in it")
    if any(part.lower() == ".git" for part in parts):
        raise refuse(
            "patches do not write below .git: git runs hooks and settings from there",
            "Run git in the workspace for what has to change there.",
        )
    too_long = len(raw) > MAX_NAME_BYTES or any(
        len(part.encode("utf-8", "surrogateescape")) > MAX_COMPONENT_BYTES for part in parts
    )
    if too_long or len(parts) > MAX_DEPTH:
        raise refuse(
            f"the path is too long: at most {MAX_NAME_BYTES} bytes, {MAX_COMPONENT_BYTES} a component,"
            f" {MAX_DEPTH} components"
        )
    return "/".join(parts)


def possible_path(name: str) -> str | None:
    """Return the path for a name, or None if `checked_path` refuses it."""
    try:
        return checked_path(name, 0)
    except PyroError:
        return None
