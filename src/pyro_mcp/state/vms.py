"""The table of VMs."""

from __future__ import annotations

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.states import require_transition
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.database import Database
from pyro_mcp.state.records import vm_from_row
from pyro_mcp.state.table import Table


class VmTable(Table[Vm]):
    """The records of all VMs, oldest first."""

    def __init__(self, database: Database) -> None:
        super().__init__(
            database,
            "vms",
            Vm,
            read=vm_from_row,
            missing=not_found,
            check=lambda before, after: require_transition(before.id, before.state, after.state),
            order=lambda vm: (vm.lease.created_at, ""),
        )

    def ids_of_workspace(self, workspace_id: str) -> list[str]:
        """Return the ids of the VMs that were started for a workspace, even if their records are damaged."""
        rows = self._database.rows("SELECT id FROM vms WHERE workspace_id = ?", workspace_id)
        return [str(row["id"]) for row in rows]

    def delete(self, vm_id: str) -> bool:
        """Delete a VM's record; return whether it existed."""
        return self._database.write(
            lambda connection: connection.execute("DELETE FROM vms WHERE id = ?", (vm_id,)).rowcount > 0
        )


def not_found(vm_id: str) -> PyroError:
    """Return the error for a VM that does not exist."""
    return PyroError(
        ErrorCode.NOT_FOUND,
        f"there is no VM {vm_id}",
        hint="It was deleted, or its time to live expired. Create another one.",
        details={"vm_id": vm_id},
    )
