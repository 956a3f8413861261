"""A test process has its own signals, and as many run as memory takes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from tests.support.guardian import ROOT
from tests.support.workers import WORKER_BYTES, available_memory_bytes, worker_count

if TYPE_CHECKING:
    import pytest

SHOW = """
import signal
def test_signals():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""
IGNORING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
"""


def test_a_run_in_the_background_has_the_signals_of_one_in_the_foreground(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini(f"[pytest]\npythonpath = {ROOT}")
    pytester.makepyfile(SHOW)
    done = process.run(
        [sys.executable, "-c", IGNORING, "-p", "no:cacheprovider", "-n", "1", pytester.path], timeout_s=60, check=False
    )
    assert done.returncode == 0, done.text


def test_the_signals_of_a_test_are_those_that_its_programs_get() -> None:
    with open("/proc/self/status", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    ignored = int(facts["SigIgn"], 16)
    assert not ignored & (1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGTERM - 1))


def test_workers_are_as_many_as_processors_and_memory_take() -> None:
    assert worker_count(2, 100 * WORKER_BYTES) == 2
    assert worker_count(64, 5 * WORKER_BYTES) == 5
    assert worker_count(8, WORKER_BYTES // 2) == 1


def test_the_memory_that_is_available_is_found() -> None:
    assert available_memory_bytes() > 64 * 1024**2
