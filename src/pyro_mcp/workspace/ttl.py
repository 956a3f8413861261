"""The time to live of a workspace's guest: its deadline, and the watcher process that waits for it.

The watcher runs `lifecycle.expire` in a process of its own when the time is up.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

from pyro_mcp.errors import PyroError
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.process import Child
from pyro_mcp.host.process.own_python import own_python
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.clock import Clock
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.store import Store
from pyro_mcp.vmm.watcher import start_watcher

_EXPIRE = "pyro_mcp.workspace.lifecycle.expire:main"


def renewed(clock: Clock, workspace: Workspace) -> Workspace:
    """Return the workspace with its time to live starting over."""
    return replace(
        workspace,
        expires_at=clock.wall_s() + workspace.ttl_s,
        boot_id=clock.boot_id(),
        deadline_boottime_s=clock.boottime_s() + workspace.ttl_s,
    )


def watch(paths: Paths, workspace: Workspace, vm_id: str, machine: MachineRecord, *, after_s: float) -> Child:
    """Start the process that powers the machine off when the workspace's time is up.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM.
    """
    places = [os.fspath(place) for place in (paths.cache, paths.state, paths.runtime)]
    command = own_python(_EXPIRE, *places, workspace.id, vm_id)
    return start_watcher(vm_id, machine, command, after_s=after_s, disks=paths.state)


def watched(machine: MachineRecord, watcher: Child) -> MachineRecord:
    """Return the machine's record with its watcher, which ends with the machine."""
    own = {"remover_pid": watcher.pid, "remover_start_time": watcher.start_time}
    return replace(machine, facts={**machine.facts, **own})


def watch_again(paths: Paths, store: Store, clock: Clock, workspace: Workspace, vm: Vm) -> None:
    """Start a new watcher for a machine whose watcher was killed.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM.
    """
    if vm.machine is None:
        return
    remaining_s = max(0.0, workspace.deadline_boottime_s - clock.boottime_s())
    with watch(paths, workspace, vm.id, vm.machine, after_s=remaining_s) as watcher:
        after = replace(vm, machine=watched(vm.machine, watcher))
        store.vms.update(vm.id, lambda now: replace(now, machine=after.machine))
        with suppress(PyroError):
            write_copy(VmFiles(paths, vm.id), after)
