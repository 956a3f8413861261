"""A person at a pseudo terminal, for commands that need one."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from tests.support.pyro_cli import COMMAND

if TYPE_CHECKING:
    from collections.abc import Generator

SEEN_TIMEOUT_S = 30.0
DETACH = "\x1d"


class Person:
    """Runs `pyro` at a pseudo terminal: types, reads, resizes it, and kills the command."""

    def __init__(self, child: process.Child, keyboard: int, terminal: int) -> None:
        self._child = child
        self._keyboard = keyboard
        self._terminal = terminal
        self._unread = ""
        #: All that came to the terminal.
        self.shown = b""

    def types(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def sees(self, expected: str, *, timeout_s: float = SEEN_TIMEOUT_S) -> None:
        """Wait until a text is shown after the one seen last."""
        deadline = time.monotonic() + timeout_s
        while expected not in self._unread:
            left = deadline - time.monotonic()
            assert left > 0, f"{expected!r} was not shown: {self._unread[-2000:]!r}"
            self._look(left)
        self._unread = self._unread.partition(expected)[2]

    def resizes(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self._keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def modes(self) -> list[object]:
        """Return the mode of the terminal."""
        return termios.tcgetattr(self._terminal)

    def is_killed(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(timeout_s=SEEN_TIMEOUT_S)

    def is_told(self, number: int) -> None:
        self._child.send_signal(number)

    def status(self) -> int:
        """Wait for the command to end, and return its exit status."""
        wait_until(self._has_ended, timeout_s=SEEN_TIMEOUT_S, what="pyro to end")
        self._look(0)
        return self._child.wait(timeout_s=SEEN_TIMEOUT_S)

    def _has_ended(self) -> bool:
        # It may be waiting for us to take what it shows.
        self._look(0)
        return self._child.poll() is not None

    def _look(self, timeout_s: float) -> None:
        while select.select([self._keyboard], [], [], timeout_s)[0]:
            data = os.read(self._keyboard, 65536)
            self.shown += data
            self._unread += data.decode("utf-8", "replace")
            timeout_s = 0


@contextmanager
def at_a_terminal(*words: str, cols: int = 80, rows: int = 24) -> Generator[Person]:
    """Run `pyro` at a terminal of that size."""
    keyboard, terminal = os.openpty()
    try:
        fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        with process.start(
            # The terminal becomes its controlling one, so that the kernel tells it of size changes.
            ["setsid", "--ctty", *COMMAND, *words],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=False,
        ) as child:
            yield Person(child, keyboard, terminal)
    finally:
        os.close(keyboard)
        os.close(terminal)
