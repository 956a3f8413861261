"""What makes several test processes at once safe: signals, parents and guests that fit into memory."""

from __future__ import annotations

import ctypes
import os
import signal

#: Two guests of a gibibyte at once, their host processes, and pytest itself.
WORKER_BYTES = 3 * 1024**3
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
# Whatever starts the run may ignore or block these: a background job ignores SIGINT, nohup SIGHUP.
_OWN_SIGNALS = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)


def reset_signals() -> None:
    """Give this process, and so every program that a test starts, the signals of a job in the foreground."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in _OWN_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def adopt_orphans() -> None:
    """Make this process, not init, the parent of whatever its descendants leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def worker_count(cpu_count: int, memory_bytes: int) -> int:
    """Return how many test processes a machine of this size takes."""
    return max(1, min(cpu_count, memory_bytes // WORKER_BYTES))


def available_memory_bytes() -> int:
    """Return how much memory can be used without swapping, by /proc/meminfo and this process's control group."""
    with open("/proc/meminfo", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    free = int(facts["MemAvailable"].split()[0]) * 1024
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            return min(free, int(limit.read()))
    except (OSError, ValueError):
        # Not in a control group of its own, or one without a limit ("max").
        return free


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
