"""Use the guest of a workspace: find it, start it if it is stopped, and explain a guest that was lost.

The time to live does not run out while a guest is in use. A guest that another process is resetting or deleting is an
error.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import assert_never

from pyro_mcp.agent import AgentSession, CancelToken
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.limits import CONNECT_TIMEOUT_S
from pyro_mcp.model.states import WorkspaceState, workspace_conflict
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.discard import is_running
from pyro_mcp.state.journal import note_activity
from pyro_mcp.state.locks import using_workspace, workspace_lock
from pyro_mcp.state.store import is_alive
from pyro_mcp.vmm.driver import COMMAND_LANES, Machine
from pyro_mcp.vmm.paused import continued, is_stuck, require_room, stuck_error
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.lifecycle.start import start_locked

__all__ = ["GuestUse", "guest_of", "note_activity"]

# How often the workspace's state may change under us.
_ATTEMPTS = 8
_LAST_WORDS_TIMEOUT_S = 2.0
_GUEST_FAILURES = {ErrorCode.GUEST_LOST, ErrorCode.TIMEOUT, ErrorCode.PROTOCOL, ErrorCode.BUSY}


@dataclass(frozen=True, slots=True)
class GuestUse:
    """The running guest of a workspace."""

    workspace: Workspace
    vm: Vm
    machine: Machine

    def session(self, *, timeout_s: float = CONNECT_TIMEOUT_S, use: LaneUse = LaneUse.SHORT) -> AgentSession:
        """Open a session with the guest's agent; a context manager. `timeout_s` bounds the wait for a lane.

        Raises:
            PyroError: BUSY, GUEST_LOST, TIMEOUT.
        """
        return AgentSession.open(self.machine.transport, timeout_s=timeout_s, use=use)

    def command_session(self, engine: Engine, *, timeout_s: float, cancel: CancelToken | None) -> AgentSession:
        """Open a session for a command, which queues while the maximum number of commands run.

        Raises:
            PyroError: BUSY, GUEST_LOST, CANCELLED.
        """
        waits = False

        def while_waiting() -> None:
            nonlocal waits
            if cancel is not None:
                cancel.check()
            if not waits:
                waits = True
                engine.progress.phase("wait", f"{COMMAND_LANES} commands run in the workspace: waiting for one to end")

        return AgentSession.open(
            self.machine.transport, timeout_s=timeout_s, use=LaneUse.COMMAND, while_waiting=while_waiting
        )


@contextmanager
def guest_of(engine: Engine, handle: str, *, activity: bool = True) -> Generator[GuestUse]:
    """Yield the guest of a workspace, starting it if necessary. With `activity`, the use renews its time to live.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is being created, reset or deleted; any reason why it can't start. If the
            block fails because the guest is gone, the error says why, if that is known.
    """
    workspace_id = find_workspace(engine, handle).id
    with using_workspace(engine.paths, workspace_id):
        workspace, vm, machine = _running(engine, workspace_id)
        try:
            require_room(machine, f"the workspace {workspace.title}")
            with continued(machine):
                yield GuestUse(workspace, vm, machine)
        except PyroError as error:
            if error.code in _GUEST_FAILURES:
                raise _explained(engine, workspace, machine, error) from error
            raise
        finally:
            machine.close()
            if activity:
                # The work is done, even if the activity can't be recorded.
                with suppress(PyroError):
                    note_activity(engine.store, engine.clock, workspace_id)


def _running(engine: Engine, workspace_id: str) -> tuple[Workspace, Vm, Machine]:
    for _ in range(_ATTEMPTS):
        workspace = engine.store.workspaces.get(workspace_id)
        match workspace.state:
            case WorkspaceState.STARTED:
                vm = engine.store.vms.find(workspace.vm_id)
                if vm is not None and vm.machine is not None and is_running(vm.machine):
                    return workspace, vm, engine.drivers.of(vm.machine.kind).attach(vm.machine)
                _let_settle(engine, workspace_id)
            case WorkspaceState.STOPPED | WorkspaceState.FAILED:
                with workspace_lock(engine.paths, workspace_id):
                    start_locked(engine, workspace_id)
            case WorkspaceState.STARTING | WorkspaceState.STOPPING:
                _let_settle(engine, workspace_id)
            case WorkspaceState.CREATING | WorkspaceState.RESETTING | WorkspaceState.DELETING:
                if workspace.owner is not None and is_alive(workspace.owner):
                    raise workspace_conflict(workspace.title, workspace.state, "can't be used meanwhile")
                _let_settle(engine, workspace_id)
            case _:
                assert_never(workspace.state)
    raise PyroError(
        ErrorCode.BUSY,
        f"the workspace {workspace_id} kept changing its state",
        hint="Other processes are starting, stopping or resetting it. Run the command again.",
    )


def _let_settle(engine: Engine, workspace_id: str) -> None:
    """Wait until no process works on the workspace, then finish what a dead one left."""
    with workspace_lock(engine.paths, workspace_id):
        pass
    engine.reconcile()


def _explained(engine: Engine, before: Workspace, machine: Machine, error: PyroError) -> PyroError:
    """Turn an error of a lost guest into one that says what happened to the workspace."""
    if error.code is not ErrorCode.BUSY:
        machine.wait_for_end(_LAST_WORDS_TIMEOUT_S if error.code is ErrorCode.GUEST_LOST else 0.0)
    if machine.is_alive():
        is_silent = error.code is ErrorCode.TIMEOUT and is_stuck(machine)
        return stuck_error(f"the workspace {before.title}", machine) if is_silent else error
    with suppress(PyroError):
        engine.reconcile()
    now = engine.store.workspaces.find(before.id)
    if now is None or now.state is WorkspaceState.DELETING:
        return _lost(before, "was deleted meanwhile", "Create another workspace.")
    if now.life != before.life or now.state is WorkspaceState.RESETTING:
        return _lost(before, "was reset meanwhile", "Run the command again, in the workspace as it is now.")
    again = "Run the command again; the workspace starts by itself."
    if now.state is not WorkspaceState.STOPPED or now.stop_reason is not StopReason.LOST:
        return _lost(before, "was stopped meanwhile", again)
    return _lost(before, f"has lost its guest: {now.last_error or 'it exited unexpectedly'}", again)


def _lost(workspace: Workspace, what: str, hint: str) -> PyroError:
    return PyroError(
        ErrorCode.GUEST_LOST,
        f"the workspace {workspace.title} {what}",
        hint=hint,
        details={"workspace_id": workspace.id},
    )
