"""Errors of patches that can't be parsed or do not fit: sentences, excerpts, and several failures in one.

Foreign bytes are made visible here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mcp.errors import ErrorCode, PyroError

MAX_SHOWN_CHARS = 160
MAX_SHOWN_LINES = 3
MAX_SHOWN_FAILURES = 5
MAX_LISTED_FAILURES = 20


def visible(text: str | bytes, *, limit: int = MAX_SHOWN_CHARS, start: int = 0) -> str:
    """Return text for a message: cut from character `start` to `limit`, with nothing that acts on a terminal."""
    if isinstance(text, bytes):
        # A character has at most four bytes: what lies beyond is not worth decoding.
        text = text[: 4 * (start + limit + 1)].decode("utf-8", "surrogateescape")
    shown = "".join(_visible_character(character) for character in text[start : start + limit])
    return ("…" if start else "") + shown + ("…" if len(text) > start + limit else "")


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\t\r\n":
        return {"\t": "\\t", "\r": "\\r", "\n": "\\n"}[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def named(path: str) -> str:
    """Return a path for a message, whole unless it is absurdly long."""
    return visible(path, limit=300)


def malformed(patch_line: int, text: str, *, hint: str, reason: str = "malformed") -> PyroError:
    """Make the error for a patch that can't be read. `patch_line` counts from 1; `text` completes the sentence."""
    return PyroError(
        ErrorCode.INVALID,
        f"line {patch_line} of the patch {text}",
        hint=hint,
        details={"reason": reason, "patch_line": patch_line},
    )


def within_hunk(failure: PyroError, name: str, number: int) -> PyroError:
    """Say in which hunk of which file a patch can't be read."""
    details = {**failure.details, "file": named(name), "hunk": number}
    message = f"{named(name)}: hunk {number}: {failure.message}"
    return PyroError(failure.code, message, hint=failure.hint, details=details)


def refused(path: str, text: str, *, hint: str, reason: str, patch_line: int) -> PyroError:
    """Make the error for something that is not done to a file, whatever stands in the tree."""
    return PyroError(
        ErrorCode.INVALID,
        f"{named(path)}: {text}",
        hint=hint,
        details={"reason": reason, "file": named(path), "patch_line": patch_line},
    )


def conflict(path: str, text: str, *, hint: str, reason: str, patch_line: int, **details: object) -> PyroError:
    """Make the error for a change that does not fit what stands in the tree."""
    return PyroError(
        ErrorCode.CONFLICT,
        f"{named(path)}: {text}",
        hint=hint,
        details={"reason": reason, "file": named(path), "patch_line": patch_line, **details},
    )


def excerpt(lines: Sequence[bytes], first: int | None, *, start: int = 0, spaces: bool = False) -> str:
    """Show the first few lines, numbered from `first` (counted from 1) where their place is known."""
    shown: list[str] = []
    for index, line in enumerate(lines[:MAX_SHOWN_LINES]):
        text = visible(line.removesuffix(b"\n"), start=start if index == 0 else 0)
        if spaces:
            text = text.replace(" ", "·")
        number = f"{first + index:>6}" if first is not None else " " * 6
        shown.append(f"{number} | {text}")
    return "\n".join(shown)


def difference_start(expected: bytes, found: bytes) -> int:
    """Return the character to show two long lines from, so that their first difference is in sight."""
    same = 0
    for left, right in zip(expected, found, strict=False):
        if left != right:
            break
        same += 1
    characters = len(expected[:same].decode("utf-8", "surrogateescape"))
    return max(0, characters - 40) if characters > MAX_SHOWN_CHARS - 40 else 0


def combined(failures: Sequence[PyroError]) -> PyroError:
    """Make one error of all that is wrong with a patch, the first few in full."""
    if len(failures) == 1:
        return failures[0]
    code = ErrorCode.CONFLICT
    if any(failure.code is ErrorCode.INVALID for failure in failures):
        code = ErrorCode.INVALID
    shown = [f"{index}. {failure.message}" for index, failure in enumerate(failures[:MAX_SHOWN_FAILURES], 1)]
    if len(failures) > MAX_SHOWN_FAILURES:
        shown.append(f"and {len(failures) - MAX_SHOWN_FAILURES} more")
    hints = dict.fromkeys(failure.hint for failure in failures[:MAX_SHOWN_FAILURES] if failure.hint)
    return PyroError(
        code,
        f"nothing was changed: {len(failures)} parts of the patch do not apply\n" + "\n".join(shown),
        hint=" ".join(hints),
        details={
            "reason": "several",
            "count": len(failures),
            "failures": [
                {"code": failure.code.value, "message": failure.message, **failure.details}
                for failure in failures[:MAX_LISTED_FAILURES]
            ],
        },
    )
