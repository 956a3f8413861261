"""File names inside a tree: validation of names from an archive or a guest, and safe display.

Names are bytes, as in the kernel. The root of a tree is the empty name.
"""

from __future__ import annotations

import re

#: The path of the workspace in a guest.
WORKSPACE = "/workspace"

MAX_NAME_BYTES = 255  # NAME_MAX
# PATH_MAX is 4096 including the final NUL; on both sides the tree is below a directory whose path takes some of that.
MAX_PATH_BYTES = 3840
MAX_DEPTH = 200
MAX_TARGET_BYTES = 4095

# Control characters, line and paragraph separators, bidirectional overrides, lone surrogates; and the backslash, so
# that different names are shown differently.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHOWN_CHARACTERS = 300


class NameRefusedError(Exception):
    """A name that can't be a file inside a tree. The message completes "its name …"."""


def clean_name(raw: bytes) -> bytes:
    """Return a member's name without `./`, doubled and trailing slashes; the root is the empty name.

    Raises:
        NameRefusedError: if it is absolute, contains `..` or a NUL, or is too long or too deep.
    """
    if b"\0" in raw:
        raise NameRefusedError("holds a NUL")
    if raw.startswith(b"/"):
        raise NameRefusedError("is absolute")
    if len(raw) > MAX_PATH_BYTES:
        raise NameRefusedError(f"is longer than {MAX_PATH_BYTES} bytes")
    parts = raw.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in {b"", b"."}]
    if b".." in parts:
        raise NameRefusedError("leads upwards (..)")
    if len(parts) > MAX_DEPTH:
        raise NameRefusedError(f"is more than {MAX_DEPTH} levels deep")
    if max(map(len, parts), default=0) > MAX_NAME_BYTES:
        raise NameRefusedError(f"has a part longer than {MAX_NAME_BYTES} bytes")
    return b"/".join(parts)


def parent_of(path: bytes) -> bytes:
    """Return the name of the directory that contains `path`."""
    return path.rpartition(b"/")[0]


def join(parent: bytes, name: bytes) -> bytes:
    """Return the name of `name` in the directory `parent`."""
    return parent + b"/" + name if parent else name


def shown(path: bytes) -> str:
    r"""Return a name as text that is safe on a terminal and in JSON, and different for different names.

    Control characters, bytes that are not UTF-8 and backslashes are written as `\xNN`, `\uNNNN` and `\\`.
    """
    text = path.decode("utf-8", "surrogateescape")
    return _UNSHOWN.sub(_visible, text) if _UNSHOWN.search(text) else text


def shown_briefly(path: bytes) -> str:
    """Return a name as `shown` does, with the middle elided if it is long, for use in a sentence."""
    text = shown(path) or "."
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    half = _SHOWN_CHARACTERS // 2
    return f"{text[:half]}…{text[-half:]}"


def _visible(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code == 0x5C:
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # U+0085 must differ from the byte 0x85, which alone is not valid UTF-8.
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
