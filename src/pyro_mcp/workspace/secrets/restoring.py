"""Put secret values back into text that was read redacted, edited, and is written back.

A value is put back if the line, or the file, shows which one the mark stands for. Otherwise the text is rejected: the
mark would overwrite the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.secrets.redactor import REDACTED, Redactor

MARK = REDACTED.decode()


class Restorer:
    """Replaces marks with the values that they stand for in some files."""

    def __init__(self, redactor: Redactor, files: Iterable[tuple[str, bytes]]) -> None:
        """Learn from files, each given as its name and current content."""
        self._originals: dict[str, set[str]] = {}
        self._values: set[str] = set()
        self._names: list[str] = []
        # A value that spans lines can't be identified line by line.
        self._is_spread = False
        for name, data in files:
            original = data.decode("utf-8", "surrogateescape")
            shown = redactor.text(original) if original.isascii() or _is_text(data) else original
            if shown == original:
                continue
            self._names.append(name)
            pairs = list(zip(shown.splitlines(), original.splitlines(), strict=False))
            self._is_spread = self._is_spread or len(shown.splitlines()) != len(original.splitlines())
            for shown_line, original_line in pairs:
                self._originals.setdefault(shown_line, set()).add(original_line)
                self._values |= _values(shown_line, original_line)

    def restored(self, text: str) -> str:
        """Return a text with values in place of the marks, if the files hold values.

        Raises:
            PyroError: INVALID, naming the file, if a mark may stand for more than one value.
        """
        if MARK not in text or not self._names:
            return text
        return "".join(self._line(line) for line in text.splitlines(keepends=True))

    def patch(self, patch: str) -> str:
        """Return a patch with values in place of the marks in its lines.

        Raises:
            PyroError: as `restored`.
        """
        if MARK not in patch or not self._names:
            return patch
        lines = patch.splitlines(keepends=True)
        return "".join(line[:1] + self._line(line[1:]) if line[:1] in {" ", "+", "-"} else line for line in lines)

    def _line(self, line: str) -> str:
        if MARK not in line:
            return line
        body = line.rstrip("\r\n")
        originals = self._originals.get(body, set())
        if not self._is_spread and len(originals) == 1:
            return originals.copy().pop() + line[len(body) :]
        if not self._is_spread and not originals and len(self._values) == 1:
            return line.replace(MARK, next(iter(self._values)))
        raise PyroError(
            ErrorCode.INVALID,
            f"the text holds {MARK}, but {self._names[0][:200]} does not tell which secret it stands for",
            hint="Change the other lines with a patch that omits that line, or edit the file with a command.",
        )


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _values(shown: str, original: str) -> set[str]:
    if shown == original:
        return set()
    pattern = "(.+?)".join(re.escape(part) for part in shown.split(MARK))
    found = re.fullmatch(pattern, original)
    return set() if found is None else set(found.groups())
