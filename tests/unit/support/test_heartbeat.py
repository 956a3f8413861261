"""A slow test gives a sign of life."""

from __future__ import annotations

import os

from tests.support.heartbeat import INTERVAL_S, Heartbeat


def test_a_test_that_takes_long_is_named() -> None:
    reading, writing = os.pipe()
    heartbeat = Heartbeat(writing, interval_s=0.01)
    heartbeat.pytest_sessionstart()
    heartbeat.pytest_runtest_logstart("tests/vm/test_boot.py::test_it_boots")
    try:
        assert os.read(reading, 1000).startswith(b"\n[test] tests/vm/test_boot.py::test_it_boots (")
    finally:
        heartbeat.pytest_runtest_logfinish()
        heartbeat.pytest_unconfigure()
        os.close(reading)


def test_silence_in_a_test_run_never_lasts_five_seconds() -> None:
    # A test may begin right after a beat was not due, so that two intervals lie before its first sign of life.
    assert 2 * INTERVAL_S < 5
