"""Deleting a VM: whatever it is doing, with all that is its.

Owns that this can be done again after it was cut off, and by two at once. Refuses to wait for ever for one that another
process is working on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.machines.ephemeral import delete_if_there
from pyro_mcp.workspace.one_shot import get_vm

if TYPE_CHECKING:
    from pyro_mcp.workspace.engine import Engine


def delete_vm(engine: Engine, vm_id: str) -> None:
    """Delete a VM. When another process deletes it at the same time, both succeed.

    Raises:
        PyroError: NOT_FOUND; BUSY if another process works on it; TIMEOUT if a process of it survives SIGKILL.
    """
    get_vm(engine, vm_id)
    engine.reconcile()
    delete_if_there(engine, vm_id)
