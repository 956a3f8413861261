"""A line whenever one test takes longer than a few seconds, so that a run is never silent."""

from __future__ import annotations

import os
import threading
import time

import pytest

INTERVAL_S = 2.0


class Heartbeat:
    """A pytest plugin that writes to `fd`, which must not be captured."""

    def __init__(self, fd: int, interval_s: float = INTERVAL_S) -> None:
        self._fd = fd
        self._interval_s = interval_s
        self._test = ""
        self._since = 0.0
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def pytest_sessionstart(self) -> None:
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._since = time.monotonic()
        self._test = nodeid

    def pytest_runtest_logfinish(self) -> None:
        self._test = ""

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._finished.set()
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._fd)

    def _beat(self) -> None:
        while not self._finished.wait(self._interval_s):
            test, busy_s = self._test, time.monotonic() - self._since
            if test and busy_s >= self._interval_s:
                os.write(self._fd, f"\n[test] {test} ({busy_s:.0f} s)".encode())
