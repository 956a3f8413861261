"""A line whenever a test takes longer than a few seconds, so that a run is never silent."""

from __future__ import annotations

import os
import threading
import time

import pytest

INTERVAL_S = 2.0


class Heartbeat:
    """A pytest plugin that writes to `fd`, which must not be captured.

    With several workers it belongs to the controller, which hears of the beginning and end of every worker's tests.
    """

    def __init__(self, fd: int, interval_s: float = INTERVAL_S) -> None:
        self._fd = fd
        self._interval_s = interval_s
        self._running: dict[str, float] = {}
        self._done_count = 0
        self._started = self._spoke = time.monotonic()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def pytest_sessionstart(self) -> None:
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._done_count += 1
        # pytest prints a character for each test.
        self._spoke = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._finished.set()
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._fd)

    def _beat(self) -> None:
        while not self._finished.wait(self._interval_s):
            if time.monotonic() - self._spoke >= self._interval_s:
                os.write(self._fd, f"\n[test] {self._line()}".encode())

    def _line(self) -> str:
        now = time.monotonic()
        busy = [f"{test} ({now - since:.0f} s)" for test, since in sorted(self._running.copy().items())]
        if busy:
            return f"{self._done_count} done; {', '.join(busy)}"
        doing = "between tests" if self._done_count else "collecting"
        return f"{self._done_count} done; {doing} ({now - self._started:.0f} s)"
