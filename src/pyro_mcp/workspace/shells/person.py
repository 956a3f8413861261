"""A user's own terminal: put into raw mode for a block, and always restored, short of a SIGKILL."""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

from pyro_mcp.protocol.shells import MAX_COLS, MAX_ROWS

_DEFAULT_SIZE = (80, 24)


class PersonTerminal:
    """The terminal of `stdin` and `stdout`."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self.stdin = stdin
        self._stdout = stdout

    def size(self) -> tuple[int, int]:
        """Return columns and rows, clamped to a shell's limits."""
        try:
            found = os.get_terminal_size(self._stdout)
        except OSError:
            return _DEFAULT_SIZE
        if not found.columns or not found.lines:
            return _DEFAULT_SIZE
        return min(found.columns, MAX_COLS), min(found.lines, MAX_ROWS)

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            OSError: if the terminal is gone.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stdout, rest) :]
            except BlockingIOError:
                # Another process that shares the terminal made it non-blocking.
                poller = select.poll()
                poller.register(self._stdout, select.POLLOUT)
                poller.poll()

    @contextmanager
    def raw(self, on_change: Callable[[], None], restoring: Callable[[], bytes]) -> Generator[None]:
        """Use raw mode inside the block; `on_change` is called when the size may have changed.

        At the end, the sequences of `restoring` undo the changes that programs made, and the former mode is restored.
        Unread input, typed or sent by the terminal, is dropped: it was not meant for the next reader.
        """
        before = termios.tcgetattr(self.stdin)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGCONT)}

        def changed(_number: int, _frame: FrameType | None) -> None:
            # After a stop (SIGTSTP) the calling shell has set its own mode.
            with suppress(termios.error):
                tty.setraw(self.stdin, termios.TCSANOW)
            on_change()

        try:
            tty.setraw(self.stdin, termios.TCSADRAIN)
            for number in handlers:
                signal.signal(number, changed)
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            with suppress(OSError):
                self.write(restoring())
            with suppress(termios.error):
                termios.tcsetattr(self.stdin, termios.TCSAFLUSH, before)
