"""A slow test gives a sign of life."""

from __future__ import annotations

import os

from tests.support.heartbeat import INTERVAL_S, Heartbeat


def test_a_test_that_takes_long_is_named() -> None:
    reading, writing = os.pipe()
    heartbeat = Heartbeat(writing, interval_s=0.01)
    heartbeat.pytest_runtest_logstart("tests/vm/test_boot.py::test_it_boots")
    heartbeat.pytest_sessionstart()
    try:
        assert os.read(reading, 1000).startswith(b"\n[test] 0 done; tests/vm/test_boot.py::test_it_boots (")
    finally:
        heartbeat.pytest_runtest_logfinish("tests/vm/test_boot.py::test_it_boots")
        heartbeat.pytest_unconfigure()
        os.close(reading)


def test_every_worker_s_test_is_in_one_line() -> None:
    reading, writing = os.pipe()
    heartbeat = Heartbeat(writing, interval_s=0.01)
    for test in ("b", "c", "a"):
        heartbeat.pytest_runtest_logstart(test)
    heartbeat.pytest_runtest_logfinish("c")
    heartbeat.pytest_sessionstart()
    try:
        assert os.read(reading, 1000).startswith(b"\n[test] 1 done; a (0 s), b (0 s)")
    finally:
        heartbeat.pytest_unconfigure()
        os.close(reading)


def test_silence_in_a_test_run_never_lasts_five_seconds() -> None:
    # A test may begin right after a beat was not due, so that two intervals lie before its first sign of life.
    assert 2 * INTERVAL_S < 5
