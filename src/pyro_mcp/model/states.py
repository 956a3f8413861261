"""States of VMs and workspaces, and which may follow which.

    VM          (none) → creating → created → starting → started → stopping → stopped → deleting → (none)
    workspace   (none) → creating → started ⇄ stopped, by way of stopping and starting; resetting leads back to started

A `created` VM is a record: it has no disk and no process before its first start. `deleting` leads only out of the
store.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pyro_mcp.errors import ErrorCode, PyroError


class VmState(StrEnum):
    """State of a VM."""

    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    FAILED = "failed"


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
    VmState.STARTED: "It is already running.",
    VmState.STOPPING: "It is being stopped: wait, then ask for its status.",
    VmState.STOPPED: "It is stopped: start it, or delete it.",
    VmState.DELETING: "It is being deleted: create another VM.",
    VmState.FAILED: "It failed: its status says why. Start it again, or delete it.",
}


class WorkspaceState(StrEnum):
    """State of a workspace."""

    CREATING = "creating"
    STARTED = "started"
    STARTING = "starting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESETTING = "resetting"
    DELETING = "deleting"
    FAILED = "failed"


_S = WorkspaceState
WORKSPACE_TRANSITIONS: Mapping[WorkspaceState, frozenset[WorkspaceState]] = {
    _S.CREATING: frozenset({_S.STARTED, _S.DELETING}),
    # Straight to stopped: the guest or its VMM ended by itself.
    _S.STARTED: frozenset({_S.STOPPING, _S.STOPPED, _S.RESETTING, _S.DELETING}),
    # Back to where it was: the process that was starting it died, or gave up.
    _S.STARTING: frozenset({_S.STARTED, _S.STOPPED, _S.FAILED, _S.DELETING}),
    # Back to started: the process that was stopping it died before the guest was switched off.
    _S.STOPPING: frozenset({_S.STOPPED, _S.STARTED, _S.DELETING}),
    _S.STOPPED: frozenset({_S.STARTING, _S.RESETTING, _S.DELETING}),
    # A reset that did not come to its end leaves what was there before.
    _S.RESETTING: frozenset({_S.STARTED, _S.STOPPED, _S.FAILED, _S.DELETING}),
    # A start that failed may be tried again, and a reset brings it back in any case.
    _S.FAILED: frozenset({_S.STARTING, _S.RESETTING, _S.DELETING}),
    _S.DELETING: frozenset(),
}


def require_workspace_transition(title: str, before: WorkspaceState, after: WorkspaceState) -> None:
    """Check that a workspace may go from `before` to `after`.

    Raises:
        PyroError: CONFLICT, saying what state it is in and what can be done from there.
    """
    if after not in WORKSPACE_TRANSITIONS[before]:
        raise workspace_conflict(title, before, f"can't become {after.value}")


def workspace_conflict(title: str, state: WorkspaceState, what: str) -> PyroError:
    """Make the error for something that the state of a workspace does not allow; `what` completes its sentence."""
    return PyroError(
        ErrorCode.CONFLICT,
        f"the workspace {title} is {state.value} and {what}",
        hint=_WORKSPACE_HINTS[state],
        details={"workspace": title, "state": state.value},
    )


_WORKSPACE_HINTS: Mapping[WorkspaceState, str] = {
    _S.CREATING: "It is being created: wait, then ask for its status.",
    _S.STARTED: "Stop it first.",
    _S.STARTING: "It is being started: wait, then ask for its status.",
    _S.STOPPING: "It is being stopped: wait, then ask for its status.",
    _S.STOPPED: "Start it first.",
    _S.RESETTING: "It is being reset: wait, then run the command again.",
    _S.DELETING: "It is being deleted: create another workspace.",
    _S.FAILED: "Its status says why. Start it again, reset it, or delete it.",
}
