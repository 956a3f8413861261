"""Filter a guest's output for a person's terminal, and restore the terminal afterwards.

Sequences that draw pass: moving, erasing, colours, screens, mice. Everything that reaches beyond the screen is dropped:
the clipboard, titles, links, notifications, files and windows, and programs for the terminal itself. So is every query:
the terminal would type its reply, which a guest can choose, into whatever reads the keyboard next.
"""

from __future__ import annotations

import codecs
import re

# Of the commands to the operating system's side (OSC) only colours: 4 a palette's, 10 to 12 text, ground and cursor,
# and from 104 on their resetting.
_COLOURS = r"(?:4|10|11|12|104|110|111|112)(?:;[0-9A-Za-z;:/#.\-]{0,512})?"
_ALLOWED = re.compile(
    r"\x1b\[[<=>?!]?[0-9;:]{0,256}[ \"$'*]?[@-hj-su-~]"
    rf"|\x1b\]{_COLOURS}(?:\x07|\x1b\\)"
    # Not ESC c alone, and not [ ] P X ^ _, which begin what is longer.
    r"|\x1b[ #%()*+\-./][0-~]|\x1b[0-OQ-WY\\`-~]"
)
# Those that terminals answer: status and cursor (n), attributes (c, x), modes ($p), presentation ($w), state ($u),
# checksums (*y), extents ("v), locators ('), version (>q), keyboard (?u, ?m), graphics (?S); and the size, as soon as
# its reports are switched on (2048).
_QUERY = re.compile(
    r"\x1b\[(?:[<=>?!]?[0-9;:]*(?:[cn]|\$[pwu]|\*y|\"v|'.)|[0-9;:]*x|>[0-9;:]*q|\?[0-9;:]*[umS]|\?(?:[0-9;:]*;)?2048[0-9;:]*h)"
)
# Whole, those that are not allowed: string sequences up to their end, windows, device controls.
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
# Longer than anything that is let through: of a string that does not end, no more is kept.
_MAX_HELD_CHARS = 4096
_ALTERNATE = re.compile(r"\x1b\[\?(?:[0-9;]*;)?(?:47|1047|1049)(?:;[0-9;]*)?([hl])")
#: Mice, pasting, focus, keys as programs like them; colours, charset, cursor, wrapping, margins; a new line.
_RESTORING = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1l\x1b>\x1b[>4m\x1b[<u"
    "\x1b[!p\x1b[0m\x1b(B\x0f\x1b[?7h\x1b[?25h\r\n"
)
_LEAVE_ALTERNATE = "\x1b[?1049l"


class AttachedFilter:
    """A guest's output on its way to a person's terminal, fed in pieces, however they are cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        # Within a string that is longer than is kept: it is dropped up to its end.
        self._is_dropping = False
        #: A program has the alternate screen.
        self.is_alternate = False

    def feed(self, data: bytes) -> bytes:
        """Return what may be written now."""
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
        """Return what undoes all that may have been switched on."""
        leave = _LEAVE_ALTERNATE if self.is_alternate else ""
        return (leave + _RESTORING).encode()

    def _without_tail(self, text: str) -> str:
        """Keep the beginning of a sequence at the end of a text for later, and return the rest."""
        at = text.rfind("\x1b")
        if at > 0 and text[at - 1 : at] != "\x1b" and (before := text.rfind("\x1b", 0, at)) >= 0:
            # It may be the end of a string that began before.
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
