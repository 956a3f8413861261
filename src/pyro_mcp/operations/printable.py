"""Make text written by others harmless to a terminal and its reader.

The only place that neutralizes control characters: escape sequences (OSC 52 and 8, titles), 8-bit C1 controls,
bidirectional overrides. Output that does not go to a terminal is not changed.
"""

from __future__ import annotations

import codecs
import re

# C0 except tab and newline, DEL, C1, line and paragraph separators, bidirectional controls, lone surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Colours: useless to a model or in a message.
_COLOURS = re.compile("\x1b\\[[0-9;:]{0,64}m")
# Allowed on a terminal: colours, erasing and moving within the line.
_HARMLESS = "\\[[0-9;:]{0,64}[mKGCD]"
_REFUSED = re.compile(f"\x1b(?!{_HARMLESS})|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# An incomplete harmless sequence, held back until the rest of it arrives.
_UNFINISHED = re.compile("\x1b(?:\\[[0-9;:]{0,64})?$")


def printable(text: str) -> str:
    """Return `text` without colours and with every control character except tab and newline made visible."""
    text = _COLOURS.sub("", text).replace("\r\n", "\n")
    return _CONTROLS.sub(_visible, text)


def printable_line(text: str) -> str:
    """Return `text` as `printable` does, on one line."""
    return printable(text).replace("\n", "\\n").replace("\t", " ")


class TerminalFilter:
    r"""Filters a guest's output for a terminal: colours and moves within the line pass, the rest becomes visible.

    Feed it chunks of any size; invalid UTF-8 is shown as `\xNN`.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""

    def feed(self, data: bytes) -> bytes:
        """Return what may be written now."""
        return self._pass(self._decoder.decode(data), final=False)

    def finish(self) -> bytes:
        """Return what was held back at the end of the stream."""
        return self._pass(self._decoder.decode(b"", final=True), final=True)

    def _pass(self, text: str, *, final: bool) -> bytes:
        text = self._held + text
        self._held = ""
        unfinished = None if final else _UNFINISHED.search(text)
        if unfinished is not None:
            self._held = unfinished.group()
            text = text[: unfinished.start()]
        return _REFUSED.sub(_visible, text).encode("utf-8", "backslashreplace")


def _visible(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return f"^{chr(code + 0x40)}"
    if code == 0x7F:
        return "^?"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
