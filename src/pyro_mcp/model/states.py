"""The states of VMs and workspaces, and the legal transitions.

    VM          (none) → creating → created → starting → started → stopping → stopped → deleting → (none)
    workspace   (none) → creating → started ⇄ stopped, through stopping and starting; resetting leads back to started

A `created` VM is only a record: it has no disk and no process before its first start. The only transition from
`deleting` is removal from the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pyro_mcp.errors import ErrorCode, PyroError


class VmState(StrEnum):
    """The state of a VM."""

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
    """Return whether a VM may change from `before` to `after`."""
    return after in TRANSITIONS[before]


def require_transition(vm_id: str, before: VmState, after: VmState) -> None:
    """Check that a VM may change from `before` to `after`.

    Raises:
        PyroError: CONFLICT, with the VM's state and the possible actions.
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
    """The state of a workspace."""

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
    # Back to started: the process that was stopping it died before the guest was powered off.
    _S.STOPPING: frozenset({_S.STOPPED, _S.STARTED, _S.DELETING}),
    _S.STOPPED: frozenset({_S.STARTING, _S.RESETTING, _S.DELETING}),
    # An incomplete reset restores the previous state.
    _S.RESETTING: frozenset({_S.STARTED, _S.STOPPED, _S.FAILED, _S.DELETING}),
    # A start that failed may be tried again, and a reset brings it back in any case.
    _S.FAILED: frozenset({_S.STARTING, _S.RESETTING, _S.DELETING}),
    _S.DELETING: frozenset(),
}


def require_workspace_transition(title: str, before: WorkspaceState, after: WorkspaceState) -> None:
    """Check that a workspace may change from `before` to `after`.

    Raises:
        PyroError: CONFLICT, with its state and the possible actions.
    """
    if after not in WORKSPACE_TRANSITIONS[before]:
        raise workspace_conflict(title, before, f"can't become {after.value}")


def workspace_conflict(title: str, state: WorkspaceState, what: str) -> PyroError:
    """Return the error for an action that a workspace's state does not permit; `what` completes the sentence."""
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
