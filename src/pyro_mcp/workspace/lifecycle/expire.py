"""Stop a workspace's guest when its time is up. The guest's watcher runs this in a process of its own.

The deadline is checked again under the locks that keep others from using the workspace. A workspace in use is left
alone, and so is every VM but the watched one.

    expire.main([CACHE, STATE, RUNTIME, WORKSPACE_ID, VM_ID])

prints the number of seconds after which to ask again, or 0 if there is nothing left to watch. A guest that is paused
because the host's disk was full is resumed first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.model.kinds import StopReason
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.discard import is_running
from pyro_mcp.state.locks import using_workspace, workspace_lock
from pyro_mcp.vmm.paused import is_stuck
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.stop import stop_locked

# While a verb works on the workspace, or it is in use.
_AGAIN_S = 15


def main(arguments: Sequence[str]) -> None:
    """Power the guest off if its time is up, and print when to ask again."""
    cache, state, runtime, workspace_id, vm_id = arguments
    with Engine(Paths(Path(cache), Path(state), Path(runtime))) as engine:
        print(expire(engine, workspace_id, vm_id), file=sys.stdout, flush=True)  # noqa: T201 - the watcher reads it


def expire(engine: Engine, workspace_id: str, vm_id: str) -> int:
    """Stop the workspace if its time is up; return the seconds after which to check again, or 0.

    Raises:
        PyroError: any reason why it can't be stopped.
    """
    _continue_guest(engine, vm_id)
    try:
        with (
            workspace_lock(engine.paths, workspace_id, timeout_s=0),
            using_workspace(engine.paths, workspace_id, alone=True, timeout_s=0),
        ):
            workspace = engine.store.workspaces.find(workspace_id)
            if workspace is None or workspace.vm_id != vm_id or workspace.state is not WorkspaceState.STARTED:
                return 0
            remaining_s = workspace.deadline_boottime_s - engine.clock.boottime_s()
            if remaining_s > 0 and workspace.boot_id == engine.clock.boot_id():
                return max(1, math.ceil(remaining_s))
            # The watcher then exits by itself. It must not be killed first: this process is its child.
            engine.store.vms.update(vm_id, _without_watcher)
            stop_locked(engine, workspace_id, StopReason.TTL)
            return 0
    except PyroError as error:
        if error.code is ErrorCode.BUSY:
            return _AGAIN_S
        raise


def _continue_guest(engine: Engine, vm_id: str) -> None:
    vm = engine.store.vms.find(vm_id)
    if vm is not None and vm.machine is not None and is_running(vm.machine):
        machine = engine.drivers.of(vm.machine.kind).attach(vm.machine)
        try:
            is_stuck(machine)
        finally:
            machine.close()


def _without_watcher(vm: Vm) -> Vm:
    if vm.machine is None:
        return vm
    facts = {key: value for key, value in vm.machine.facts.items() if not key.startswith("remover_")}
    return replace(vm, machine=replace(vm.machine, facts=facts))
