"""Ending processes, and only the right ones.

A pid whose start time does not match is never signalled. Nothing returns while the process that it killed still runs.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress

from pyro_mcp.errors import from_os_error
from pyro_mcp.host.process.identity import read_stat, tree_of
from pyro_mcp.host.waiting import Deadline

KILL_TIMEOUT_S = 10.0
# A child that another part of this process reaped (or that ended with SIGCHLD ignored) has no status left to read.
UNKNOWN_STATUS = 255

# Children that outlive their `Child`; they stay zombies until somebody asks for their status.
DETACHED: set[int] = set()


def kill(
    pid: int, started: int, *, grace_s: float = 0.0, timeout_s: float = KILL_TIMEOUT_S, tree: bool = False
) -> bool:
    """End the process that has `pid` and the start time `started`; say whether it was still running.

    Any other process that has the pid by now is left alone. With `grace_s`, SIGTERM comes first. With `tree`, its
    descendants end too.

    Raises:
        PyroError: TIMEOUT if it survives SIGKILL for `timeout_s`, PERMISSION.
    """
    with _pinned(pid, started) as pidfd:
        if pidfd is None:
            return False
        was_running = not readable(pidfd, 0)
        try:
            if tree:
                end_tree(pid, pidfd, grace_s, timeout_s)
            else:
                _end(pid, pidfd, grace_s, timeout_s)
        except PermissionError as error:
            raise from_os_error(error, f"end process {pid}") from error
        if pid in DETACHED:
            reap(pid)
        return was_running


def send_signal(pid: int, started: int, number: int) -> bool:
    """Send a signal to the process that has `pid` and the start time `started`; say whether it was there."""
    with _pinned(pid, started) as pidfd:
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise from_os_error(error, f"signal process {pid}") from error
        return True


def wait_for_exit(pid: int, started: int, *, timeout_s: float) -> bool:
    """Wait until the process that has `pid` and the start time `started` has ended; say whether it has."""
    with _pinned(pid, started) as pidfd:
        return pidfd is None or readable(pidfd, timeout_s)


def reap_detached() -> None:
    """Collect the detached children that have ended, so that they do not stay zombies of a long-lived process."""
    for pid in tuple(DETACHED):
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None:
                continue
        DETACHED.discard(pid)


@contextmanager
def _pinned(pid: int, started: int) -> Generator[int | None]:
    """Hold on to the process of that pid and start time: while the descriptor is open it can't be mistaken."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        # EINVAL: the number is a thread's, or none at all. Anything else is no proof that it is gone.
        if error.errno not in {errno.ESRCH, errno.EINVAL}:
            raise from_os_error(error, f"look at process {pid}") from error
        pidfd = -1
    if pidfd < 0:
        yield None
        return
    try:
        found = read_stat(pid)
        yield pidfd if found is not None and found.start_time == started else None
    finally:
        os.close(pidfd)


def readable(pidfd: int, timeout_s: float) -> bool:
    """Wait up to `timeout_s` for the process behind the descriptor to end; say whether it has."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def reap(pid: int) -> int:
    """Take the status of a child that has ended (negative: the signal that ended it)."""
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED)
    except ChildProcessError:
        return UNKNOWN_STATUS
    finally:
        DETACHED.discard(pid)
    if result is None:
        return UNKNOWN_STATUS
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _end(pid: int, pidfd: int, grace_s: float, timeout_s: float) -> None:
    try:
        if grace_s > 0:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            # A stopped process takes no SIGTERM until it goes on.
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            readable(pidfd, grace_s)
    except ProcessLookupError:
        pass
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    if not readable(pidfd, timeout_s):
        raise Deadline(timeout_s, f"process {pid} to end after SIGKILL").error()


def end_tree(pid: int, pidfd: int, grace_s: float, timeout_s: float = KILL_TIMEOUT_S) -> None:
    """End the process behind the descriptor and what descends from it. It is not reaped."""
    members = {(process.pid, process.start_time) for process in tree_of(pid)}
    try:
        _end(pid, pidfd, grace_s, timeout_s)
    finally:
        # Two rounds find nothing new unless something forked meanwhile; what forks faster than it can be
        # killed is bounded by the deadline.
        deadline = Deadline(timeout_s, f"the processes that {pid} left to end")
        # It may have forked between the first look and its death.
        members |= {(process.pid, process.start_time) for process in tree_of(pid)}
        while members:
            for member, started in members:
                with _pinned(member, started) as fd:
                    if fd is not None:
                        _end(member, fd, 0.0, deadline.remaining_s())
            deadline.check()
            members = {(process.pid, process.start_time) for process in tree_of(pid)}
