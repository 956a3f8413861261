"""The tables of workspaces and snapshots, and lookup of a workspace by id, name or prefix.

A change reads and writes in one transaction, so that no update of another process is lost. Transitions that the model
does not have are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import WORKSPACE_PREFIX, is_snapshot_id
from pyro_mcp.model.naming import check_snapshot_name
from pyro_mcp.model.states import require_workspace_transition
from pyro_mcp.model.workspace import Snapshot, Workspace
from pyro_mcp.state.records import columns, from_row, to_row, workspace_from_row

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from pyro_mcp.state.database import Database

_COLUMNS = columns(Workspace)
# The column names are this module's own, so nothing is injected.
_INSERT = f"INSERT INTO workspaces ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608
_UPDATE = f"UPDATE workspaces SET {', '.join(f'{name} = :{name}' for name in _COLUMNS[1:])} WHERE id = :id"  # noqa: S608
_SHOWN_IDS = 5
_SHOWN_CHARS = 80


class WorkspaceTable:
    """The records of all workspaces and their snapshots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, workspace: Workspace, *, also: Callable[[sqlite3.Connection], None] | None = None) -> Workspace:
        """Record a new workspace; `also` is done in the same transaction.

        Raises:
            PyroError: what `also` raises.
        """

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, to_row(workspace))
            if also is not None:
                also(connection)

        self._database.write(change)
        return workspace

    def find(self, workspace_id: str) -> Workspace | None:
        """Return a workspace's record, or None.

        Raises:
            PyroError: CORRUPT if the record is damaged.
        """
        return self._database.read(lambda connection: _find(connection, workspace_id))

    def get(self, workspace_id: str) -> Workspace:
        """Return a workspace's record.

        Raises:
            PyroError: NOT_FOUND; CORRUPT if the record is damaged.
        """
        workspace = self.find(workspace_id)
        if workspace is None:
            raise no_workspace(workspace_id)
        return workspace

    def lookup(self, handle: str) -> Workspace:
        """Return the workspace whose id or name `handle` is, or whose id alone begins with it.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if several have the name, or ids that begin with it, saying which.
        """
        rows = self._database.read(lambda connection: _candidates(connection, handle))
        if not rows:
            raise no_workspace(handle)
        if len(rows) == 1:
            return workspace_from_row(dict(rows[0]))
        ids = [str(row["id"]) for row in sorted(rows, key=lambda row: (-row["created_at"], row["id"]))]
        what = "begins the ids" if handle.startswith(WORKSPACE_PREFIX) else "is the name"
        more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
        raise PyroError(
            ErrorCode.CONFLICT,
            f"{handle[:_SHOWN_CHARS]!r} {what} of several workspaces: {', '.join(ids[:_SHOWN_IDS])}{more}",
            hint="Give one of the ids: the newest is the first.",
            details={"workspaces": ids[:_SHOWN_IDS]},
        )

    def all(self) -> tuple[list[Workspace], list[str]]:
        """Return every workspace, the one that was active last first, and the ids of records that are damaged."""
        rows = self._database.read(lambda connection: connection.execute("SELECT * FROM workspaces").fetchall())
        workspaces: list[Workspace] = []
        damaged: list[str] = []
        for row in rows:
            record = dict(row)
            try:
                workspaces.append(workspace_from_row(record))
            except PyroError:
                damaged.append(str(record["id"]))
        workspaces.sort(key=lambda each: (-each.last_activity_at, each.id))
        return workspaces, damaged

    def update(
        self,
        workspace_id: str,
        change: Callable[[Workspace], Workspace],
        *,
        also: Callable[[sqlite3.Connection], object] | None = None,
        durable: bool = False,
    ) -> Workspace:
        """Replace a workspace's record by what `change` makes of it, and return that; both may be called twice.

        A `durable` change survives a power cut once this returns.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if the state that `change` gave may not follow; what
                `change` and `also` raise.
        """

        def transaction(connection: sqlite3.Connection) -> Workspace:
            before = _find(connection, workspace_id)
            if before is None:
                raise no_workspace(workspace_id)
            after = change(before)
            if after.state is not before.state:
                require_workspace_transition(before.title, before.state, after.state)
            if after != before:
                connection.execute(_UPDATE, to_row(after))
            if also is not None:
                also(connection)
            return after

        return self._database.write(transaction, durable=durable)

    def delete(self, workspace_id: str) -> bool:
        """Forget a workspace with all that was recorded of it; say whether there was one."""

        def transaction(connection: sqlite3.Connection) -> bool:
            forget_records(connection, workspace_id)
            connection.execute("DELETE FROM snapshots WHERE workspace_id = ?", (workspace_id,))
            return connection.execute("DELETE FROM workspaces WHERE id = ?", (workspace_id,)).rowcount > 0

        return self._database.write(transaction)

    def snapshots(self, workspace_id: str) -> list[Snapshot]:
        """Return a workspace's snapshots whose records can be read, oldest first. The baseline is none of them."""
        rows = self._database.read(
            lambda connection: connection.execute(
                "SELECT * FROM snapshots WHERE workspace_id = ? ORDER BY created_at, name", (workspace_id,)
            ).fetchall()
        )
        return [each for row in rows if (each := _snapshot(row)) is not None]

    def find_snapshot(self, workspace_id: str, name: str) -> Snapshot | None:
        """Return a snapshot, or None if there is none or its record is damaged."""
        return next((each for each in self.snapshots(workspace_id) if each.name == name), None)

    def forget_damaged_snapshots(self, workspace_id: str) -> None:
        """Forget the records of snapshots that can't be read."""

        def change(connection: sqlite3.Connection) -> None:
            query = "SELECT * FROM snapshots WHERE workspace_id = ?"
            damaged = [row for row in connection.execute(query, (workspace_id,)).fetchall() if _snapshot(row) is None]
            for row in damaged:
                remove_snapshot(connection, workspace_id, row["name"])

        self._database.write(change)

    def put_snapshots(self, workspace_id: str, snapshots: list[Snapshot]) -> None:
        """Record existing snapshots, those of a workspace that is adopted again."""

        def change(connection: sqlite3.Connection) -> None:
            for snapshot in snapshots:
                insert_snapshot(connection, workspace_id, snapshot)

        self._database.write(change)


def insert_snapshot(connection: sqlite3.Connection, workspace_id: str, snapshot: Snapshot) -> None:
    """Record a snapshot, inside the caller's transaction.

    Raises:
        PyroError: CONFLICT if there is one of that name.
    """
    import sqlite3

    try:
        connection.execute(
            "INSERT INTO snapshots (workspace_id, name, id, created_at, size_bytes, root_size_bytes)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                workspace_id,
                snapshot.name,
                snapshot.id,
                snapshot.created_at,
                snapshot.size_bytes,
                snapshot.root_size_bytes,
            ),
        )
    except sqlite3.IntegrityError as error:
        raise PyroError(
            ErrorCode.CONFLICT,
            f"there is a snapshot {snapshot.name!r} already",
            hint="Choose another name, or delete that one first.",
        ) from error


def remove_snapshot(connection: sqlite3.Connection, workspace_id: str, name: str) -> bool:
    """Forget a snapshot, inside the caller's transaction; say whether there was one."""
    deleted = connection.execute("DELETE FROM snapshots WHERE workspace_id = ? AND name = ?", (workspace_id, name))
    return deleted.rowcount > 0


def forget_records(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Forget what was done in a workspace, inside the caller's transaction."""
    connection.execute("DELETE FROM commands WHERE workspace_id = ?", (workspace_id,))
    connection.execute("DELETE FROM events WHERE workspace_id = ?", (workspace_id,))


def no_workspace(handle: str) -> PyroError:
    """Make the error for a workspace that is not there, or no longer."""
    return PyroError(
        ErrorCode.NOT_FOUND,
        f"there is no workspace {handle[:_SHOWN_CHARS]!r}",
        hint="`pyro workspace list` lists the workspaces.",
        details={"workspace": handle[:_SHOWN_CHARS]},
    )


def _find(connection: sqlite3.Connection, workspace_id: str) -> Workspace | None:
    row = connection.execute("SELECT * FROM workspaces WHERE id = ?", (workspace_id,)).fetchone()
    return None if row is None else workspace_from_row(dict(row))


def _candidates(connection: sqlite3.Connection, handle: str) -> list[sqlite3.Row]:
    if "\0" in handle or not handle.isprintable():
        return []
    if not handle.startswith(WORKSPACE_PREFIX):
        return connection.execute("SELECT * FROM workspaces WHERE name = ?", (handle,)).fetchall()
    if len(handle) == len(WORKSPACE_PREFIX):
        return []
    query = "SELECT * FROM workspaces WHERE substr(id, 1, ?) = ?"
    return connection.execute(query, (len(handle), handle)).fetchall()


def _snapshot(row: sqlite3.Row) -> Snapshot | None:
    try:
        snapshot = from_row(Snapshot, dict(row))
        check_snapshot_name(snapshot.name)
    except PyroError:
        return None
    return snapshot if is_snapshot_id(snapshot.id) else None
