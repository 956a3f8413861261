"""Guests that their VMM has paused because the host's disk is full: seen, reported, and continued when there is room.

QEMU repeats the writes that failed when it continues, so nothing is lost; but it never continues by itself.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.vmm.driver import Machine

HINT = "Free some disk space: the guest then continues where it was."
# Less would be full again before anybody else gets to write. watcher.sh has the same number.
ROOM_BYTES = 8 * 1024 * 1024
_FIRST_CHECK_S = 1.0
_LAST_CHECK_S = 8.0
_JOIN_S = 0.2


def is_stuck(machine: Machine) -> bool:
    """Return whether the guest is paused for want of space on the host, after continuing it if there is room."""
    if not machine.is_paused_on_error():
        return False
    return not _has_room(machine) or not machine.resume()


def require_room(machine: Machine, what: str) -> None:
    """Check that the guest, called `what`, is not paused for want of space, so that nobody waits for it.

    It may still be paused where there is room: `continued` continues it.

    Raises:
        PyroError: NO_SPACE.
    """
    if not _has_room(machine) and is_stuck(machine):
        raise stuck_error(what, machine)


def stuck_error(what: str, machine: Machine) -> PyroError:
    """Return the error for a guest, called `what`, that is paused."""
    disk = _disks(machine)
    return PyroError(
        ErrorCode.NO_SPACE,
        f"{what} is paused: the host's disk that holds {disk} is full",
        hint=HINT,
        details={"path": disk},
    )


@contextmanager
def continued(machine: Machine) -> Generator[None]:
    """Check from time to time, while somebody uses the machine, whether it is paused, and continue it."""
    ended = threading.Event()

    def check() -> None:
        pause_s = _FIRST_CHECK_S
        while not ended.wait(pause_s):
            pause_s = _FIRST_CHECK_S if is_stuck(machine) else min(2 * pause_s, _LAST_CHECK_S)

    thread = threading.Thread(target=check, name="paused", daemon=True)
    # Where no thread may be started, the watcher continues it.
    with suppress(PyroError):
        start_thread(thread)
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            # A VMM that does not answer must not hold anybody up.
            thread.join(_JOIN_S)


def _has_room(machine: Machine) -> bool:
    try:
        found = os.statvfs(_disks(machine))
    except OSError:
        # Of a machine without a log nothing is known.
        return False
    return found.f_bavail * found.f_frsize >= ROOM_BYTES


def _disks(machine: Machine) -> str:
    """Return the directory of the machine's log, which is on the file system of its disks."""
    return os.path.dirname(str(machine.record.facts.get("console", "")))
