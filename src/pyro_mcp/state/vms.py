"""The table of VMs.

A change reads and writes in one transaction, so that no update of another process is lost. Transitions that the model
does not have are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.states import require_transition
from pyro_mcp.model.vm import Vm
from pyro_mcp.state.records import columns, to_row, vm_from_row

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from pyro_mcp.state.database import Database

_COLUMNS = columns(Vm)
# The column names are this module's own, so nothing is injected.
_PUT = f"INSERT OR REPLACE INTO vms ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608
_INSERT = _PUT.replace("INSERT OR REPLACE", "INSERT", 1)


class VmTable:
    """The records of all VMs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, vm: Vm) -> Vm:
        """Record a new VM.

        Raises:
            PyroError: CONFLICT if its id already exists.
        """
        self._database.write(lambda connection: insert_vm(connection, vm))
        return vm

    def find(self, vm_id: str) -> Vm | None:
        """Return a VM's record, or None.

        Raises:
            PyroError: CORRUPT if the record is damaged.
        """
        return self._database.read(lambda connection: _find(connection, vm_id))

    def get(self, vm_id: str) -> Vm:
        """Return a VM's record.

        Raises:
            PyroError: NOT_FOUND; CORRUPT if the record is damaged.
        """
        vm = self.find(vm_id)
        if vm is None:
            raise not_found(vm_id)
        return vm

    def all(self) -> tuple[list[Vm], list[str]]:
        """Return every VM, oldest first, and the ids of records that are damaged."""
        rows = self._database.rows("SELECT * FROM vms")
        vms: list[Vm] = []
        damaged: list[str] = []
        for row in rows:
            record = dict(row)
            try:
                vms.append(vm_from_row(record))
            except PyroError:
                damaged.append(str(record["id"]))
        return sorted(vms, key=lambda vm: vm.lease.created_at), damaged

    def ids_of_workspace(self, workspace_id: str) -> list[str]:
        """Return the ids of the VMs that were started for a workspace, readable or not."""
        rows = self._database.rows("SELECT id FROM vms WHERE workspace_id = ?", workspace_id)
        return [str(row["id"]) for row in rows]

    def update(self, vm_id: str, change: Callable[[Vm], Vm]) -> Vm:
        """Replace a VM's record by what `change` makes of it, and return that. `change` may be called twice.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if the state that `change` gave may not follow; what `change` raises.
        """
        return self._database.write(lambda connection: update_vm(connection, vm_id, change))

    def delete(self, vm_id: str) -> bool:
        """Forget a VM; say whether there was one."""
        return self._database.write(
            lambda connection: connection.execute("DELETE FROM vms WHERE id = ?", (vm_id,)).rowcount > 0
        )


def insert_vm(connection: sqlite3.Connection, vm: Vm) -> None:
    """Record a new VM, inside the caller's transaction.

    Raises:
        PyroError: CONFLICT if its id already exists.
    """
    import sqlite3

    try:
        connection.execute(_INSERT, to_row(vm))
    except sqlite3.IntegrityError as error:
        raise PyroError(ErrorCode.CONFLICT, f"{vm.id} is recorded already") from error


def update_vm(connection: sqlite3.Connection, vm_id: str, change: Callable[[Vm], Vm]) -> Vm:
    """Replace a VM's record by what `change` makes of it, inside the caller's transaction, and return that.

    Raises:
        PyroError: as `VmTable.update`.
    """
    before = _find(connection, vm_id)
    if before is None:
        raise not_found(vm_id)
    after = change(before)
    if after.state is not before.state:
        require_transition(vm_id, before.state, after.state)
    if after != before:
        connection.execute(_PUT, to_row(after))
    return after


def not_found(vm_id: str) -> PyroError:
    """Make the error for a VM that is not there, or no longer."""
    return PyroError(
        ErrorCode.NOT_FOUND,
        f"there is no VM {vm_id}",
        hint="It was deleted, or its time was up. Create another one.",
        details={"vm_id": vm_id},
    )


def _find(connection: sqlite3.Connection, vm_id: str) -> Vm | None:
    row = connection.execute("SELECT * FROM vms WHERE id = ?", (vm_id,)).fetchone()
    return None if row is None else vm_from_row(dict(row))
