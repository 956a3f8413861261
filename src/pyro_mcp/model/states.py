"""The life of a VM: its states, and which of them may follow which.

Owns the one table of legal transitions. Refuses to perform any of them.

    (none) → creating → created → starting → started → stopping → stopped → deleting → (none)

A `created` VM is a record: it has no disk and no process before its first start. `deleting` leads nowhere but out of
the store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError

if TYPE_CHECKING:
    from collections.abc import Mapping


class VmState(StrEnum):
    """Name where a VM stands in its life."""

    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    FAILED = "failed"

    @property
    def is_passing(self) -> bool:
        """Say whether a VM is in this state only while some process works on it."""
        return self in _PASSING


_PASSING = frozenset({VmState.CREATING, VmState.STARTING, VmState.STOPPING, VmState.DELETING})

TRANSITIONS: Mapping[VmState, frozenset[VmState]] = {
    VmState.CREATING: frozenset({VmState.CREATED, VmState.STARTING, VmState.FAILED, VmState.DELETING}),
    VmState.CREATED: frozenset({VmState.STARTING, VmState.DELETING}),
    # Back to where it was: the process that was starting it died, or gave up.
    VmState.STARTING: frozenset({VmState.STARTED, VmState.CREATED, VmState.STOPPED, VmState.FAILED, VmState.DELETING}),
    # Straight to failed: the guest or its VMM ended by itself.
    VmState.STARTED: frozenset({VmState.STOPPING, VmState.STOPPED, VmState.FAILED, VmState.DELETING}),
    VmState.STOPPING: frozenset({VmState.STOPPED, VmState.FAILED, VmState.DELETING}),
    VmState.STOPPED: frozenset({VmState.STARTING, VmState.DELETING}),
    VmState.DELETING: frozenset(),
    # A start that failed may be tried again.
    VmState.FAILED: frozenset({VmState.STARTING, VmState.DELETING}),
}


def may_follow(before: VmState, after: VmState) -> bool:
    """Say whether a VM in the state `before` may go to `after`."""
    return after in TRANSITIONS[before]


def require_transition(vm_id: str, before: VmState, after: VmState) -> None:
    """Check that a VM may go from `before` to `after`.

    Raises:
        PyroError: CONFLICT, saying what state the VM is in and what can be done from there.
    """
    if may_follow(before, after):
        return
    raise PyroError(
        ErrorCode.CONFLICT,
        f"{vm_id} is {before.value} and can't become {after.value}",
        hint=_HINTS[before],
        details={"vm_id": vm_id, "state": before.value},
    )


_HINTS: Mapping[VmState, str] = {
    VmState.CREATING: "It is being created: wait, then ask for its status.",
    VmState.CREATED: "Start it first.",
    VmState.STARTING: "It is being started: wait, then ask for its status.",
    VmState.STARTED: "It is running already.",
    VmState.STOPPING: "It is being stopped: wait, then ask for its status.",
    VmState.STOPPED: "It is stopped: start it, or delete it.",
    VmState.DELETING: "It is being deleted: create another VM.",
    VmState.FAILED: "It failed: its status says why. Start it again, or delete it.",
}
