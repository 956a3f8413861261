"""Detect, report and continue guests that were paused because the host's disk is full.

QEMU retries the failed writes when the guest continues, so nothing is lost, but it never continues a guest by itself.
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
# With less free space, the disk would be full again immediately. watcher.sh has the same number.
ROOM_BYTES = 8 * 1024 * 1024
_FIRST_CHECK_S = 1.0
_LAST_CHECK_S = 8.0
_JOIN_S = 0.2


def is_stuck(machine: Machine) -> bool:
    """Return whether the guest is paused because the host's disk is full, after continuing it if there is room."""
    if not machine.is_paused_on_error():
        return False
    return not _has_room(machine) or not machine.resume()


def require_room(machine: Machine, what: str) -> None:
    """Check that the guest, described by `what`, is not stuck on a full disk, so that no caller waits for it.

    If there is room again, it may still be paused: `continued` continues it.

    Raises:
        PyroError: NO_SPACE.
    """
    if not _has_room(machine) and is_stuck(machine):
        raise stuck_error(what, machine)


def stuck_error(what: str, machine: Machine) -> PyroError:
    """Return the error for a paused guest, described by `what`."""
    disk = _disks(machine)
    return PyroError(
        ErrorCode.NO_SPACE,
        f"{what} is paused: the host's disk that holds {disk} is full",
        hint=HINT,
        details={"path": disk},
    )


@contextmanager
def continued(machine: Machine) -> Generator[None]:
    """Within the block, check repeatedly whether the machine is paused, and continue it when possible."""
    ended = threading.Event()

    def check() -> None:
        pause_s = _FIRST_CHECK_S
        while not ended.wait(pause_s):
            pause_s = _FIRST_CHECK_S if is_stuck(machine) else min(2 * pause_s, _LAST_CHECK_S)

    thread = threading.Thread(target=check, name="paused", daemon=True)
    # If no thread can be started, the watcher continues the machine.
    with suppress(PyroError):
        start_thread(thread)
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            # A VMM that does not answer must not delay the caller.
            thread.join(_JOIN_S)


def _has_room(machine: Machine) -> bool:
    try:
        found = os.statvfs(_disks(machine))
    except OSError:
        # The machine has no console log, so its disks are unknown.
        return False
    return found.f_bavail * found.f_frsize >= ROOM_BYTES


def _disks(machine: Machine) -> str:
    """Return the directory of the machine's console log, which is on the file system of its disks."""
    return os.path.dirname(str(machine.record.facts.get("console", "")))
