"""End processes, identified by pid and start time.

A pid whose start time does not match is never signalled. Functions that kill a process return only when it has ended.
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
# For a child that other code reaped, or that ended while SIGCHLD was ignored, so that its status is lost.
UNKNOWN_STATUS = 255

# Children that outlive their `Child`; they stay zombies until their status is collected.
DETACHED: set[int] = set()


def kill(
    pid: int, started: int, *, grace_s: float = 0.0, timeout_s: float = KILL_TIMEOUT_S, tree: bool = False
) -> bool:
    """Kill the process with `pid` and start time `started`; return whether it was still running.

    Another process that has reused the pid is not affected. With `grace_s`, SIGTERM is sent first. With `tree`, its
    descendants are killed as well.

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
    """Send a signal to the process with `pid` and start time `started`; return whether it existed."""
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
    """Wait for the process with `pid` and start time `started` to end; return whether it has."""
    with _pinned(pid, started) as pidfd:
        return pidfd is None or readable(pidfd, timeout_s)


def reap_detached() -> None:
    """Reap the detached children that have ended, so that they don't stay zombies of a long-lived process."""
    for pid in tuple(DETACHED):
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None:
                continue
        DETACHED.discard(pid)


@contextmanager
def _pinned(pid: int, started: int) -> Generator[int | None]:
    """Yield a pidfd of the process with that pid and start time, which can't refer to any other, or None."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        # EINVAL: the number is a thread's, or not a pid. Other errors don't mean that the process has ended.
        if error.errno not in {errno.ESRCH, errno.EINVAL}:
            raise from_os_error(error, f"open process {pid}") from error
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
    """Wait up to `timeout_s` for the process of a pidfd to end; return whether it has."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def reap(pid: int) -> int:
    """Reap a child that has ended, and return its status (negative: the signal that killed it)."""
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
            # A stopped process does not receive SIGTERM until it continues.
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
    """End the process of a pidfd and its descendants, without reaping it."""
    members = {(process.pid, process.start_time) for process in tree_of(pid)}
    try:
        _end(pid, pidfd, grace_s, timeout_s)
    finally:
        # Usually the second round finds nothing. The deadline applies if processes fork faster than they are killed.
        deadline = Deadline(timeout_s, f"the processes that {pid} left to end")
        # The process may have forked after `members` was determined.
        members |= {(process.pid, process.start_time) for process in tree_of(pid)}
        while members:
            for member, started in members:
                with _pinned(member, started) as fd:
                    if fd is not None:
                        _end(member, fd, 0.0, deadline.remaining_s())
            deadline.check()
            members = {(process.pid, process.start_time) for process in tree_of(pid)}
