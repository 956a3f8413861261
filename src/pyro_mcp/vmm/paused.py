"""Guests that their VMM has paused because the host's disk is full: seen, reported, and continued when there is room.

QEMU repeats the writes that failed when it continues, so nothing is lost; but it never continues by itself.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.vmm.driver import Machine

HINT = "Free some disk space: the guest then continues where it was."
# Less would be full again before anybody else gets to write.
ROOM_BYTES = 8 * 1024 * 1024
_FIRST_CHECK_S = 1.0
_LAST_CHECK_S = 8.0
_JOIN_S = 0.2


def is_stuck(machine: Machine) -> bool:
    """Return whether the guest is paused for want of space on the host, after continuing it if there is room."""
    if not machine.is_paused_on_error():
        return False
    try:
        found = os.statvfs(_disks(machine))
    except OSError:
        return True
    return found.f_bavail * found.f_frsize < ROOM_BYTES or not machine.resume()


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
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # A VMM that does not answer must not hold anybody up.
        thread.join(_JOIN_S)


def _disks(machine: Machine) -> str:
    """Return the directory of the machine's log, which is on the file system of its disks."""
    return os.path.dirname(str(machine.record.facts.get("console", "")))
