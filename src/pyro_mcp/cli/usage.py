"""The error for wrong usage, and suggestions for mistyped words."""

from __future__ import annotations

from collections.abc import Iterable

from pyro_mcp.errors import ErrorCode, PyroError

_CUTOFF = 0.5


class UsageError(PyroError):
    """An invalid command line: exit status 2."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(ErrorCode.USAGE, message, hint=hint)


def suggestion(word: str, known: Iterable[str], *, destructive: Iterable[str] = ()) -> str:
    """Return "Did you mean …?" for the known words close to `word`, or "".

    If the closest word is `destructive`, nothing is suggested: any other would not be what was meant.
    """
    import difflib

    close = difflib.get_close_matches(word, list(known), n=3, cutoff=_CUTOFF)
    dangerous = set(destructive)
    close = [] if close[:1] and close[0] in dangerous else [each for each in close if each not in dangerous]
    return f"Did you mean {' or '.join(close)}?" if close else ""


def with_help(command: str, hint: str = "") -> str:
    """Return a hint that ends with a reference to the help."""
    return f"{hint} See: pyro {command} --help".strip() if command else f"{hint} See: pyro --help".strip()
