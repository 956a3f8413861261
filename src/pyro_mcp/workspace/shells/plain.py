"""Plain rendering: the visible text of a part of a shell's output.

Rendering is deterministic. A part that would take too much work is not drawn: its control sequences are removed
instead.

The screen is drawn first from the output that precedes the part: if the part continues a line, the beginning of that
line is not repeated unless it was changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyro_mcp.workspace.shells.screen import TerminalScreen, TooMuchWorkError
from pyro_mcp.workspace.shells.sequences import feed, split_unfinished

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellOutput, ShellSize

# On the primary screen, earlier output would have scrolled off.
_CONTEXT_CHARS = 16 * 1024
_ALTERNATE = re.compile(r"\x1b\[\?[0-9;]*\b(?:47|1047|1049)[0-9;]*([hl])")
_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain_text(output: ShellOutput, context: str, text: str) -> str:
    """Return the visible text of `text`, part of an output, where `context` is the output before it."""
    context, begun = split_unfinished(context[beginning(context) :])
    try:
        return _drawn(context, begun, text, output)
    except TooMuchWorkError:
        return _CONTROLS.sub("", text.replace("\r\n", "\n"))


def beginning(context: str) -> int:
    """Return the offset in the context to draw from: where a still active alternate screen was entered."""
    entered = -1
    for found in _ALTERNATE.finditer(context):
        if found[1] == "l":
            entered = -1
        elif entered < 0:
            entered = found.start()
    if entered >= 0:
        # Include some lines before it, for the primary screen that it returns to.
        return max(0, entered - _CONTEXT_CHARS)
    start = max(0, len(context) - _CONTEXT_CHARS)
    return context.find("\n", start) + 1 or start if start else 0


def _drawn(context: str, begun: str, text: str, output: ShellOutput) -> str:
    first, changes = _sizes_within(output)
    screen = TerminalScreen(first.cols, first.rows)
    feed(screen, context)
    screen.mark()
    before = _Before(screen)
    # Offsets of sizes are bytes of the output; using them for characters is close enough.
    at = 0
    for size in changes:
        end = len(output.data[: size.since - output.start].decode("utf-8", "replace"))
        whole, begun = split_unfinished(begun + text[at:end])
        feed(screen, whole)
        screen.resize(size.rows, size.cols)
        at = max(at, end)
    feed(screen, split_unfinished(begun + text[at:])[0])
    return before.seen_since()


def _sizes_within(output: ShellOutput) -> tuple[ShellSize, list[ShellSize]]:
    """Return the terminal's size at the start of the part, and its changes within it."""
    first = output.sizes[0]
    for size in output.sizes:
        if size.since <= output.start:
            first = size
    return first, [size for size in output.sizes if output.start < size.since <= output.stop]


class _Before:
    """The state of a screen before a part of the output is drawn."""

    def __init__(self, screen: TerminalScreen) -> None:
        self._screen = screen
        self._line = screen.line
        self._gone = screen.gone
        self._was_alternate = screen.is_alternate
        self._row, _ = screen.row(screen.cursor.y, at_least=screen.cursor.x)
        self._begun = self._row[: screen.cursor.x]

    def seen_since(self) -> str:
        """Return the lines that were added or changed since."""
        screen = self._screen
        if screen.touched is None:
            return "\n" * max(0, screen.line - self._line) if not screen.is_alternate else ""
        if screen.is_alternate:
            return _joined([screen.row(y) for y in range(screen.lines)])
        first = min(screen.touched, self._line) if not self._was_alternate else screen.touched
        rows = screen.scrolled[max(0, first - self._gone) :] if first < screen.gone else []
        top = max(0, first - screen.gone)
        shown = [
            screen.row(y, at_least=screen.cursor.x if y == screen.cursor.y else 0) for y in range(top, screen.lines)
        ]
        # Below the cursor, only lines that are not empty.
        while shown and not shown[-1][0] and top + len(shown) - 1 > screen.cursor.y:
            shown.pop()
        rows = [*rows, *shown]
        known = self._begun if screen.touched == self._line else self._row
        if first == self._line and rows and rows[0][0].startswith(known):
            rows[0] = (rows[0][0][len(known) :], rows[0][1])
        return _joined(rows, keep_end=True)


def _joined(rows: list[tuple[str, bool]], *, keep_end: bool = False) -> str:
    parts = [text + ("" if goes_on else "\n") for text, goes_on in rows]
    text = "".join(parts)
    return text.removesuffix("\n") if keep_end else text.rstrip("\n")
