"""When a workspace's time is up: the deadline, and the process that waits for it.

Owns how long a workspace's guest lives without being used, and starting what switches it off then. Refuses to do that
itself: `ws_expire` does, in a process of its own.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.state.copies import write_copy
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.vmm.watcher import start_watcher

if TYPE_CHECKING:
    from pyro_mcp.host.process import Child
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.engine import Engine

# This very package, whatever is installed elsewhere; -I and -S keep everything else out.
_PACKAGE_HOME = os.fspath(Path(__file__).parents[2])
_EXPIRE = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from pyro_mcp.workspace.ws_expire import main
main(sys.argv[1:])
"""


def renewed(engine: Engine, workspace: Workspace) -> Workspace:
    """Return the workspace with its whole time to live before it."""
    return replace(
        workspace,
        expires_at=engine.clock.wall_s() + workspace.ttl_s,
        boot_id=engine.clock.boot_id(),
        deadline_boottime_s=engine.clock.boottime_s() + workspace.ttl_s,
    )


def watch(engine: Engine, workspace: Workspace, vm_id: str, machine: MachineRecord, *, after_s: float) -> Child:
    """Start the process that switches the machine off when the workspace's time is up.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM.
    """
    paths = engine.paths
    places = [os.fspath(place) for place in (paths.cache, paths.state, paths.runtime)]
    command = [sys.executable, "-I", "-S", "-c", _EXPIRE, _PACKAGE_HOME, *places, workspace.id, vm_id]
    return start_watcher(vm_id, machine, command, after_s=after_s)


def watched(machine: MachineRecord, watcher: Child) -> MachineRecord:
    """Return the machine's record with its watcher, which ends with the machine."""
    own = {"remover_pid": watcher.pid, "remover_start_time": watcher.start_time}
    return replace(machine, facts={**machine.facts, **own})


def watch_again(engine: Engine, workspace: Workspace, vm: Vm) -> None:
    """Start another watcher for a machine whose own was killed.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM.
    """
    if vm.machine is None:
        return
    remaining_s = max(0.0, workspace.deadline_boottime_s - engine.clock.boottime_s())
    with watch(engine, workspace, vm.id, vm.machine, after_s=remaining_s) as watcher:
        after = replace(vm, machine=watched(vm.machine, watcher))
        engine.store.vms.update(vm.id, lambda now: replace(now, machine=after.machine))
        with suppress(PyroError):
            write_copy(VmFiles.of(engine.paths, vm.id), after)
