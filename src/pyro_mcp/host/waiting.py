"""Deadlines, and the product's only sleep.

Every wait has a name and a limit, and its error says what was waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pyro_mcp.errors import ErrorCode, PyroError

T = TypeVar("T")

FIRST_INTERVAL_S = 0.001


class Deadline:
    """A named point in monotonic time by which something must have happened."""

    __slots__ = ("_end", "timeout_s", "what")

    def __init__(self, timeout_s: float, what: str) -> None:
        self.timeout_s = timeout_s
        self.what = what
        self._end = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() >= self._end

    def check(self, *, tail: Callable[[], str] | None = None) -> None:
        """Raise TIMEOUT if the deadline has passed."""
        if self.expired:
            raise self.error(tail=tail)

    def error(self, *, tail: Callable[[], str] | None = None) -> PyroError:
        """Return the TIMEOUT error of this deadline, including the output returned by `tail`."""
        message = f"waited {self.timeout_s:g} s for {self.what}"
        details: dict[str, object] = {"waited_for": self.what, "timeout_s": self.timeout_s}
        last = tail().strip() if tail is not None else ""
        if last:
            message += f"; the last output was:\n{last}"
            details["tail"] = last
        return PyroError(ErrorCode.TIMEOUT, message, details=details)


def wait_until(
    predicate: Callable[[], T | None],
    *,
    timeout_s: float,
    what: str,
    interval_s: float = 0.01,
    tail: Callable[[], str] | None = None,
) -> T:
    """Call `predicate` until it returns a true value, and return that.

    The pause between calls grows from a millisecond to `interval_s`. The predicate is always called once more after the
    deadline, so that a process that was itself suspended does not report a spurious timeout.

    Raises:
        PyroError: TIMEOUT, with `what` and the text that `tail` returns.
    """
    deadline = Deadline(timeout_s, what)
    pause_s = min(FIRST_INTERVAL_S, interval_s)
    while True:
        expired = deadline.expired
        value = predicate()
        if value:
            return value
        if expired:
            raise deadline.error(tail=tail)
        time.sleep(min(pause_s, deadline.remaining_s()))
        pause_s = min(pause_s * 2, interval_s)
