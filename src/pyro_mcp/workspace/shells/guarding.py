"""Filter a guest's output for a user's terminal, and restore the terminal afterwards.

Sequences that draw pass: cursor movement, erasing, colours, screens, the mouse. Everything that reaches beyond the
screen is dropped: clipboard, titles, links, notifications, files, windows, and sequences that program the terminal. So
is every query: the terminal would type its reply, which a guest can choose, into whatever reads the keyboard next.
"""

from __future__ import annotations

import codecs
import re

# Of the operating system commands (OSC), only colours: 4 is the palette, 10 to 12 are text, background and cursor, and
# from 104 on they are reset.
_COLOURS = r"(?:4|10|11|12|104|110|111|112)(?:;[0-9A-Za-z;:/#.\-]{0,512})?"
_ALLOWED = re.compile(
    r"\x1b\[[<=>?!]?[0-9;:]{0,256}[ \"$'*]?[@-hj-su-~]"
    rf"|\x1b\]{_COLOURS}(?:\x07|\x1b\\)"
    # Not ESC c, and not [ ] P X ^ _, which begin longer sequences.
    r"|\x1b[ #%()*+\-./][0-~]|\x1b[0-OQ-WY\\`-~]"
)
# Sequences that terminals answer: status and cursor (n), attributes (c, x), modes ($p), presentation ($w), state ($u),
# checksums (*y), extents ("v), locators ('), version (>q), keyboard (?u, ?m), graphics (?S); and the size, once its
# reports are enabled (2048).
_QUERY = re.compile(
    r"\x1b\[(?:[<=>?!]?[0-9;:]*(?:[cn]|\$[pwu]|\*y|\"v|'.)|[0-9;:]*x|>[0-9;:]*q|\?[0-9;:]*[umS]|\?(?:[0-9;:]*;)?2048[0-9;:]*h)"
)
# Complete sequences, allowed or not: strings up to their terminator, CSI, and other escapes.
_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x18\x1a\x1b]*(?:\x07|\x18|\x1a|\x1b\\|(?=\x1b|\Z))"
    r"|\x1b[PX^_][^\x18\x1a\x1b]*(?:\x18|\x1a|\x1b\\|(?=\x1b|\Z))"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]"
    r"|\x1b"
)
# Answerback (ENQ), 8-bit controls, which some terminals obey in UTF-8 too.
_REFUSED = re.compile("[\x05\x80-\x9f]")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x18\x1a\x1b]*\x1b?|[PX^_][^\x18\x1a\x1b]*\x1b?|[ -/]*)?\Z")
# Longer than any sequence that passes: an unterminated string is buffered up to this length.
_MAX_HELD_CHARS = 4096
_ALTERNATE = re.compile(r"\x1b\[\?(?:[0-9;]*;)?(?:47|1047|1049)(?:;[0-9;]*)?([hl])")
#: Resets mouse, paste, focus and keyboard modes; colours, charset, cursor, wrapping, margins; begins a new line.
_RESTORING = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1l\x1b>\x1b[>4m\x1b[<u"
    "\x1b[!p\x1b[0m\x1b(B\x0f\x1b[?7h\x1b[?25h\r\n"
)
_LEAVE_ALTERNATE = "\x1b[?1049l"


class AttachedFilter:
    """Filters a guest's output for a user's terminal, fed in chunks of any size."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        # Within a string that exceeds the limit: it is dropped up to its end.
        self._is_dropping = False
        #: A program uses the alternate screen.
        self.is_alternate = False

    def feed(self, data: bytes) -> bytes:
        """Filter the next chunk, and return what may be written now."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        if self._is_dropping:
            text = self._after_string(text)
        text = self._without_tail(text)
        shown = _REFUSED.sub("", _SEQUENCE.sub(_allowed, text))
        for found in _ALTERNATE.finditer(shown):
            self.is_alternate = found[1] == "h"
        return shown.encode("utf-8", "replace")

    def restoring(self) -> bytes:
        """Return the sequences that undo every mode that may have been set."""
        leave = _LEAVE_ALTERNATE if self.is_alternate else ""
        return (leave + _RESTORING).encode()

    def _without_tail(self, text: str) -> str:
        """Hold back an incomplete sequence at the end of a text, and return the rest."""
        at = text.rfind("\x1b")
        if at > 0 and text[at - 1 : at] != "\x1b" and (before := text.rfind("\x1b", 0, at)) >= 0:
            # It may be the terminator of a string that began before.
            at = before if at == len(text) - 1 and _UNFINISHED.match(text, before) else at
        if at < 0 or not _UNFINISHED.match(text, at):
            return text
        self._held = text[at:]
        if len(self._held) > _MAX_HELD_CHARS:
            self._held, self._is_dropping = "", True
        return text[:at]

    def _after_string(self, text: str) -> str:
        found = re.search(r"[\x07\x18\x1a]|\x1b\\|\x1b", text)
        if found is None:
            return ""
        self._is_dropping = False
        return text[found.end() :] if found.group() != "\x1b" else text[found.start() :]


def _allowed(found: re.Match[str]) -> str:
    text = found.group()
    return text if _ALLOWED.fullmatch(text) and not _QUERY.fullmatch(text) else ""
