"""Errors for patches that can't be parsed or don't fit: messages, excerpts, and combined failures.

Untrusted bytes are escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mcp.errors import ErrorCode, PyroError

MAX_SHOWN_CHARS = 160
MAX_SHOWN_LINES = 3
MAX_SHOWN_FAILURES = 5
MAX_LISTED_FAILURES = 20


def visible(text: str | bytes, *, limit: int = MAX_SHOWN_CHARS, start: int = 0) -> str:
    """Return at most `limit` characters of a text from `start` on, with control characters escaped."""
    if isinstance(text, bytes):
        # A character has at most four bytes, so no more need be decoded.
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
    """Return a path for a message, truncated only if it is extremely long."""
    return visible(path, limit=300)


def malformed(patch_line: int, text: str, *, hint: str, reason: str = "malformed") -> PyroError:
    """Return the error for a malformed patch. `patch_line` counts from 1; `text` completes the sentence."""
    return PyroError(
        ErrorCode.INVALID,
        f"line {patch_line} of the patch {text}",
        hint=hint,
        details={"reason": reason, "patch_line": patch_line},
    )


def within_hunk(failure: PyroError, name: str, number: int) -> PyroError:
    """Add the file and hunk to the error for a malformed patch."""
    details = {**failure.details, "file": named(name), "hunk": number}
    message = f"{named(name)}: hunk {number}: {failure.message}"
    return PyroError(failure.code, message, hint=failure.hint, details=details)


def refused(path: str, text: str, *, hint: str, reason: str, patch_line: int) -> PyroError:
    """Return the error for a change that is refused whatever the tree contains."""
    return PyroError(
        ErrorCode.INVALID,
        f"{named(path)}: {text}",
        hint=hint,
        details={"reason": reason, "file": named(path), "patch_line": patch_line},
    )


def conflict(path: str, text: str, *, hint: str, reason: str, patch_line: int, **details: object) -> PyroError:
    """Return the error for a change that does not fit the tree."""
    return PyroError(
        ErrorCode.CONFLICT,
        f"{named(path)}: {text}",
        hint=hint,
        details={"reason": reason, "file": named(path), "patch_line": patch_line, **details},
    )


def excerpt(lines: Sequence[bytes], first: int | None, *, start: int = 0, spaces: bool = False) -> str:
    """Return the first few lines, numbered from `first` (1-based) if their place is known."""
    shown: list[str] = []
    for index, line in enumerate(lines[:MAX_SHOWN_LINES]):
        text = visible(line.removesuffix(b"\n"), start=start if index == 0 else 0)
        if spaces:
            text = text.replace(" ", "·")
        number = f"{first + index:>6}" if first is not None else " " * 6
        shown.append(f"{number} | {text}")
    return "\n".join(shown)


def difference_start(expected: bytes, found: bytes) -> int:
    """Return the character from which to show two long lines, so that their first difference is visible."""
    same = 0
    for left, right in zip(expected, found, strict=False):
        if left != right:
            break
        same += 1
    characters = len(expected[:same].decode("utf-8", "surrogateescape"))
    return max(0, characters - 40) if characters > MAX_SHOWN_CHARS - 40 else 0


def combined(failures: Sequence[PyroError]) -> PyroError:
    """Combine all failures of a patch into one error, with the first few in full."""
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
