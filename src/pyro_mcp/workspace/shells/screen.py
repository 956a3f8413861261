"""A terminal's screen, drawn from the output of a guest's programs.

It adds to pyte's model: the alternate screen, lines scrolled off the top, changed lines, and wrapped lines. Colours are
ignored. Work is bounded, as a guest may print anything: each sequence has a cost.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pyte.modes as modes
from pyte.screens import Char, Margins, Screen, StaticDefaultDict, wcwidth

# Much more than any part of an output costs, unless it is malicious.
_MAX_WORK = 6_000_000
_MAX_CELL_CHARS = 8
# In a row's cells: it continues in the next row.
_WRAPPED = -1
_ALTERNATE_SCREENS = frozenset({47, 1047, 1049})
_SAVE_CURSOR = 1048
_ASCII_CELLS = {chr(code): Char(chr(code)) for code in range(0x20, 0x7F)}
_STUB = Char("")


class TooMuchWorkError(Exception):
    """Drawing exceeds the work limit."""


@dataclass(slots=True)
class _Primary:
    """The primary screen, saved while the alternate one is active."""

    cells: dict[int, StaticDefaultDict[int, Char]]
    x: int
    y: int
    margins: Margins | None
    touched: int | None


class TerminalScreen(Screen):
    """A screen that also remembers which lines scrolled off the top since `mark`."""

    def __init__(self, columns: int, lines: int) -> None:
        #: How many lines have scrolled off the top of the primary screen, and the last ones.
        self.gone = 0
        self.scrolled: list[tuple[str, bool]] = []
        #: The first line changed since `mark`, counted from the first line ever.
        self.touched: int | None = None
        self._primary: _Primary | None = None
        self._saved = (0, 0, 0)
        self._last_char = ""
        self._work = 0
        super().__init__(columns, lines)

    @property
    def is_alternate(self) -> bool:
        """Return whether the alternate screen is active."""
        return self._primary is not None

    @property
    def line(self) -> int:
        """Return the cursor's line, counted from the first line ever."""
        return self.gone + self.cursor.y

    def mark(self) -> None:
        """Forget which lines scrolled off and changed so far."""
        self.scrolled.clear()
        self.dirty.clear()
        self.touched = None
        if self._primary is not None:
            self._primary.touched = None

    def settle(self) -> None:
        """Record which lines were changed."""
        if self.dirty:
            first = self.gone + min(self.dirty)
            self.touched = first if self.touched is None else min(self.touched, first)
            self.dirty.clear()

    def row(self, y: int, *, at_least: int = 0) -> tuple[str, bool]:
        """Return a row's text, and whether it continues in the next; trailing blanks are kept up to `at_least`."""
        cells: dict[int, Char] = self.buffer.get(y) or {}
        goes_on = _WRAPPED in cells
        last = max((x for x in cells if x < self.columns), default=-1)
        text = "".join([cells[x].data if x in cells else " " for x in range(last + 1)])
        if goes_on:
            return text, True
        kept = len(text.rstrip(" "))
        # The cursor is after the last typed character, which may be a blank.
        return text[: max(kept, min(at_least, len(text)))], False

    def charge(self, work: int) -> None:
        """Count work.

        Raises:
            TooMuchWorkError: if the limit is exceeded. The screen is unusable then.
        """
        self._work += work
        if self._work > _MAX_WORK:
            raise TooMuchWorkError

    def choose_charset(self, *, is_graphic: bool) -> None:
        """Select the ASCII or the line-drawing character set."""
        self.g0_charset = self.g1_charset if is_graphic else _PLAIN

    def soft_reset(self) -> None:
        """Reset margins and modes."""
        self.margins = None
        self.reset_mode(modes.IRM)
        self.charset = 0
        self.g0_charset = _PLAIN

    # Drawing.

    def draw(self, data: str) -> None:
        """Draw text that contains no control characters."""
        self._work += len(data)
        if self.charset or self.g0_charset is not _PLAIN:
            data = data.translate(self.g1_charset if self.charset else self.g0_charset)
        if data.isascii() and modes.IRM not in self.mode:
            self._draw_ascii(data)
        else:
            for char in data:
                self._draw_char(char)
        self._last_char = data[-1:]
        self.dirty.add(self.cursor.y)

    def _draw_ascii(self, data: str) -> None:
        at = 0
        while at < len(data):
            self._wrap_if_full(1)
            x = self.cursor.x
            piece = data[at : at + self.columns - x]
            cells = zip(range(x, x + len(piece)), map(_ASCII_CELLS.__getitem__, piece), strict=True)
            self.buffer[self.cursor.y].update(cells)
            self.cursor.x = x + len(piece)
            at += len(piece)
            if at < len(data) and modes.DECAWM not in self.mode:
                # Further characters overwrite the last column.
                at = max(at, len(data) - 1)

    def _draw_char(self, char: str) -> None:
        width = wcwidth(char)
        if width <= 0:
            if unicodedata.combining(char):
                self._combine(char)
            return
        self._wrap_if_full(width)
        if modes.IRM in self.mode:
            self.insert_characters(width)
        cells = self.buffer[self.cursor.y]
        cells[self.cursor.x] = Char(char)
        if width == 2 and self.cursor.x + 1 < self.columns:
            cells[self.cursor.x + 1] = _STUB
        self.cursor.x = min(self.cursor.x + width, self.columns)

    def _combine(self, char: str) -> None:
        cells = self.buffer[self.cursor.y]
        x = self.cursor.x - 1
        if x > 0 and x in cells and not cells[x].data:
            x -= 1
        if x in cells and 0 < len(cells[x].data) < _MAX_CELL_CHARS:
            cells[x] = Char(unicodedata.normalize("NFC", cells[x].data + char))

    def _wrap_if_full(self, width: int) -> None:
        if self.cursor.x + width <= self.columns:
            return
        if modes.DECAWM in self.mode:
            self.dirty.add(self.cursor.y)
            self.buffer[self.cursor.y][_WRAPPED] = _STUB
            self.carriage_return()
            self.linefeed()
        else:
            self.cursor.x = max(0, self.columns - width)

    def tab(self) -> None:
        """Move to the next tab stop."""
        self._work += len(self.tabstops)
        self.cursor.x = min((stop for stop in self.tabstops if stop > self.cursor.x), default=self.columns - 1)

    def repeat(self, count: int) -> None:
        """Repeat the last character `count` times."""
        if self._last_char:
            self.draw(self._last_char * min(count, self.columns * self.lines))

    # Scrolling.

    def index(self) -> None:
        """Move the cursor down, scrolling at the bottom."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y != bottom:
            self._work += 1
            self.cursor.y = min(self.cursor.y + 1, self.lines - 1)
            return
        self._scroll_up(top, bottom)

    def _scroll_up(self, top: int, bottom: int) -> None:
        self._work += bottom - top
        if top or bottom < self.lines - 1 or self.is_alternate:
            self.dirty.update((top, bottom))
        else:
            self.settle()
            self.scrolled.append(self.row(0))
            self.gone += 1
        buffer = self.buffer
        for y in range(top, bottom):
            if y + 1 in buffer:
                buffer[y] = buffer[y + 1]
            else:
                buffer.pop(y, None)
        buffer.pop(bottom, None)

    def _scroll_down(self, top: int, bottom: int) -> None:
        self._work += bottom - top
        self.dirty.update((top, bottom))
        buffer = self.buffer
        for y in range(bottom, top, -1):
            if y - 1 in buffer:
                buffer[y] = buffer[y - 1]
            else:
                buffer.pop(y, None)
        buffer.pop(top, None)

    def reverse_index(self) -> None:
        """Move the cursor up, scrolling at the top."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y == top:
            self._scroll_down(top, bottom)
        else:
            self.cursor.y = max(self.cursor.y - 1, 0)

    def scroll(self, count: int) -> None:
        """Scroll up by `count` lines, or down if it is negative."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        for _ in range(min(abs(count), self.lines)):
            if count > 0:
                self._scroll_up(top, bottom)
            else:
                self._scroll_down(top, bottom)

    # Erasing: cells never written are not stored.

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:  # noqa: ARG002 - as pyte has it
        """Erase the cursor's row: from the cursor on, up to it, or all of it."""
        self._work += self.columns
        self.dirty.add(self.cursor.y)
        cells = self.buffer[self.cursor.y]
        if how == 2:
            cells.clear()
            return
        first, last = (self.cursor.x, self.columns) if how == 0 else (0, self.cursor.x + 1)
        for x in [x for x in cells if first <= x < last or (x == _WRAPPED and how == 0)]:
            del cells[x]

    def erase_in_display(self, how: int = 0, *args: object, **kwargs: object) -> None:
        """Erase the rows after the cursor, before it, or all."""
        del args, kwargs
        self._work += self.lines
        if how == 3:
            return
        first, last = {0: (self.cursor.y + 1, self.lines), 1: (0, self.cursor.y)}.get(how, (0, self.lines))
        self.dirty.update(y for y in (first, last - 1) if first <= y < last)
        for y in [y for y in self.buffer if first <= y < last]:
            del self.buffer[y]
        if how in (0, 1):
            self.erase_in_line(how)

    def erase_characters(self, count: int | None = None) -> None:
        """Erase `count` characters from the cursor on."""
        self._work += self.columns
        self.dirty.add(self.cursor.y)
        cells = self.buffer[self.cursor.y]
        for x in range(self.cursor.x, min(self.cursor.x + (count or 1), self.columns)):
            cells.pop(x, None)

    # Modes, sizes and saved state.

    def reset(self) -> None:
        """Start again on the primary screen."""
        self._primary = None
        self._saved = (0, 0, 0)
        super().reset()
        self.g0_charset = _PLAIN
        self._work += self.lines

    def save_cursor(self) -> None:
        """Save the cursor's position; only one is kept."""
        self._saved = (self.cursor.x, self.cursor.y, self.charset)

    def restore_cursor(self) -> None:
        """Restore the saved position."""
        self.cursor.x, self.cursor.y, self.charset = self._saved
        self.ensure_hbounds()
        self.ensure_vbounds()

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Change the size; if there are fewer rows, lines are pushed off the top."""
        lines, columns = lines or self.lines, columns or self.columns
        self._work += self.lines + columns
        self.margins = None
        while self.cursor.y >= lines:
            self._scroll_up(0, self.lines - 1)
            self.cursor.y -= 1
        for y in [y for y in self.buffer if y >= lines]:
            del self.buffer[y]
        if columns < self.columns:
            for cells in self.buffer.values():
                for x in [x for x in cells if x >= columns]:
                    del cells[x]
        self.lines, self.columns = lines, columns
        self.cursor.x = min(self.cursor.x, columns - 1)
        self.tabstops = set(range(8, columns, 8))

    def set_private(self, numbers: list[int], *, on: bool) -> None:
        """Set or reset DEC private modes."""
        for number in numbers:
            if number in _ALTERNATE_SCREENS:
                (self.enter_alternate if on else self.leave_alternate)()
            elif number == _SAVE_CURSOR:
                (self.save_cursor if on else self.restore_cursor)()
            elif number in _SUPPORTED_MODES:
                (self.set_mode if on else self.reset_mode)(number, private=True)

    def enter_alternate(self) -> None:
        """Switch to the alternate screen."""
        if self._primary is not None:
            return
        self.settle()
        self._work += self.lines
        self._primary = _Primary(dict(self.buffer), self.cursor.x, self.cursor.y, self.margins, self.touched)
        self.buffer.clear()
        self.margins = None

    def leave_alternate(self) -> None:
        """Return to the primary screen, unchanged."""
        primary, self._primary = self._primary, None
        if primary is None:
            return
        self._work += self.lines
        self.dirty.clear()
        self.buffer.clear()
        self.buffer.update(primary.cells)
        self.cursor.x, self.cursor.y = min(primary.x, self.columns), min(primary.y, self.lines - 1)
        self.margins = None
        self.touched = primary.touched


_PLAIN = Screen(1, 1).g0_charset
# Origin mode (6) and wrapping (7); the others affect keys, the mouse and appearance.
_SUPPORTED_MODES = frozenset({6, 7})
