"""Split terminal output into text and control sequences, and keep only the sequences that change the screen.

Titles, clipboard, mouse, colours and unknown sequences are removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyte.modes as modes
from pyte.screens import Screen

from pyro_mcp.workspace.shells.screen import TerminalScreen

_MAX_PARAMETER = 9999
_MAX_PARAMETER_CHARS = 6
_MAX_PARAMETERS = 16
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<private>[<=>?]?)(?P<parameters>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    # Titles, clipboard, links; then sequences that program the terminal.
    r"|\x1b\][^\x07\x18\x1a\x1b]*(?:\x07|\x18|\x1a|\x1b\\|(?=\x1b|\Z))"
    r"|\x1b[PX^_][^\x18\x1a\x1b]*(?:\x18|\x1a|\x1b\\|(?=\x1b|\Z))"
    r"|\x1b(?P<escape>[ -/]*[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[<=>?]?[0-9;:]*[ -/]*|[ -/]*)")
_UNFINISHED_STRING = re.compile(r"\x1b[\]PX^_][^\x07\x18\x1a\x1b]*\x1b?")


def split_unfinished(text: str) -> tuple[str, str]:
    """Split an incomplete sequence off the end of a text."""
    at = text.rfind("\x1b")
    if at == len(text) - 1 and at > 0:
        # It may be the first half of the terminator of a string that began before.
        before = text.rfind("\x1b", 0, at)
        at = before if before >= 0 and _UNFINISHED_STRING.fullmatch(text, before) else at
    if at >= 0 and (_UNFINISHED.fullmatch(text, at) or _UNFINISHED_STRING.fullmatch(text, at)):
        return text[:at], text[at:]
    return text, ""


def feed(screen: TerminalScreen, text: str) -> None:
    """Draw a text with control sequences.

    Raises:
        TooMuchWorkError: if it takes too much work. The screen is unusable then.
    """
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "text":
            screen.draw(token.group())
        elif kind == "control":
            action = _CONTROLS.get(token.group())
            if action is not None:
                action(screen)
        elif kind == "final":
            _obey(screen, token)
        elif kind == "escape":
            _escape(screen, token.group("escape"))
        screen.charge(1)
    screen.settle()


def _escape(screen: TerminalScreen, text: str) -> None:
    action = _ESCAPES.get(text)
    if action is not None:
        action(screen)
    elif text[0] == "(" and len(text) > 1:
        screen.choose_charset(is_graphic=text[1] == "0")


def _obey(screen: TerminalScreen, token: re.Match[str]) -> None:
    private, final, between = token.group("private", "final", "between")
    numbers = [
        min(int(each or 0), _MAX_PARAMETER)
        for each in token.group("parameters").replace(":", ";").split(";")[:_MAX_PARAMETERS]
        if len(each) <= _MAX_PARAMETER_CHARS
    ]
    if between:
        if (between, final) == ("!", "p"):
            screen.soft_reset()
    elif private == "?":
        if final in "hl":
            screen.set_private(numbers, on=final == "h")
        elif final in "JK":
            _SEQUENCES[final](screen, numbers)
    elif not private and final in _SEQUENCES:
        _SEQUENCES[final](screen, numbers)


_CONTROLS: dict[str, Callable[[TerminalScreen], None]] = {
    "\b": Screen.backspace,
    "\t": TerminalScreen.tab,
    "\n": Screen.linefeed,
    "\v": Screen.linefeed,
    "\f": Screen.linefeed,
    "\r": Screen.carriage_return,
    "\x0e": Screen.shift_out,
    "\x0f": Screen.shift_in,
}
_ESCAPES: dict[str, Callable[[TerminalScreen], None]] = {
    "c": TerminalScreen.reset,
    "D": TerminalScreen.index,
    "E": lambda screen: (screen.carriage_return(), screen.index())[-1],
    "H": Screen.set_tab_stop,
    "M": TerminalScreen.reverse_index,
    "7": TerminalScreen.save_cursor,
    "8": TerminalScreen.restore_cursor,
}


def _counted(action: Callable[[TerminalScreen, int], None]) -> Callable[[TerminalScreen, list[int]], None]:
    return lambda screen, numbers: action(screen, numbers[0] if numbers else 0)


def _costly(action: Callable[[TerminalScreen, int], None]) -> Callable[[TerminalScreen, list[int]], None]:
    """Charge an action for the rows, or the cells of a row, that it moves."""

    def act(screen: TerminalScreen, numbers: list[int]) -> None:
        screen.charge(screen.lines + screen.columns)
        action(screen, numbers[0] if numbers else 0)

    return act


def _to_position(screen: TerminalScreen, numbers: list[int]) -> None:
    screen.cursor_position(*numbers[:2])


def _to_line(screen: TerminalScreen, line: int) -> None:
    screen.cursor_position(line, min(screen.cursor.x, screen.columns - 1) + 1)


def _set_margins(screen: TerminalScreen, numbers: list[int]) -> None:
    top, bottom = [*numbers[:2], 0, 0][:2]
    screen.set_margins(top or None, bottom or None)


def _tab_back(screen: TerminalScreen, count: int) -> None:
    stops = sorted(stop for stop in screen.tabstops if stop < screen.cursor.x)
    screen.cursor.x = stops[-count or -1] if len(stops) >= (count or 1) else 0


def _tab_on(screen: TerminalScreen, count: int) -> None:
    stops = sorted(stop for stop in screen.tabstops if stop > screen.cursor.x)
    screen.cursor.x = stops[(count or 1) - 1] if len(stops) >= (count or 1) else screen.columns - 1


_SEQUENCES: dict[str, Callable[[TerminalScreen, list[int]], None]] = {
    "@": _costly(Screen.insert_characters),
    "A": _counted(Screen.cursor_up),
    "B": _counted(Screen.cursor_down),
    "C": _counted(Screen.cursor_forward),
    "D": _counted(Screen.cursor_back),
    "E": _counted(Screen.cursor_down1),
    "F": _counted(Screen.cursor_up1),
    "G": _counted(Screen.cursor_to_column),
    "H": _to_position,
    "I": _costly(_tab_on),
    "J": _counted(TerminalScreen.erase_in_display),
    "K": _counted(TerminalScreen.erase_in_line),
    "L": _costly(Screen.insert_lines),
    "M": _costly(Screen.delete_lines),
    "P": _costly(Screen.delete_characters),
    "S": _counted(lambda screen, count: screen.scroll(count or 1)),
    "T": _counted(lambda screen, count: screen.scroll(-(count or 1))),
    "X": _counted(TerminalScreen.erase_characters),
    "Z": _costly(_tab_back),
    "`": _counted(Screen.cursor_to_column),
    "a": _counted(Screen.cursor_forward),
    "b": _counted(lambda screen, count: screen.repeat(count or 1)),
    "d": _counted(_to_line),
    "e": _counted(Screen.cursor_down),
    "f": _to_position,
    "g": _counted(Screen.clear_tab_stop),
    "h": lambda screen, numbers: screen.set_mode(*[number for number in numbers if number == modes.IRM]),
    "l": lambda screen, numbers: screen.reset_mode(*[number for number in numbers if number == modes.IRM]),
    "r": _set_margins,
    "s": lambda screen, _numbers: screen.save_cursor(),
    "u": lambda screen, _numbers: screen.restore_cursor(),
}
