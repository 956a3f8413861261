"""Ctrl-C, SIGTERM and a closed terminal while a command runs.

The first signal becomes a KeyboardInterrupt, so that everything acquired is released; later ones do not interrupt that.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Generator[None]:
    """Raise KeyboardInterrupt at the first signal; later ones only print that clean-up is in progress."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # `nohup` ignores SIGHUP so that we survive the terminal, and a shell's background job ignores SIGINT.
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, _first)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _first(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _first:
            signal.signal(number, _again)
    raise KeyboardInterrupt


def _again(_number: int, _frame: FrameType | None) -> None:
    from pyro_mcp.cli.streams import say

    say("[pyro] cleaning up")
