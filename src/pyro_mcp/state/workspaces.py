"""The tables of workspaces and snapshots, and lookup of a workspace by id, name or prefix."""

from __future__ import annotations

import sqlite3

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import WORKSPACE_PREFIX, is_snapshot_id
from pyro_mcp.model.naming import check_snapshot_name
from pyro_mcp.model.states import require_workspace_transition
from pyro_mcp.model.workspace import Snapshot, Workspace
from pyro_mcp.state.database import Database
from pyro_mcp.state.records import from_row, workspace_from_row
from pyro_mcp.state.table import Table

_SHOWN_IDS = 5
_SHOWN_CHARS = 80


class WorkspaceTable(Table[Workspace]):
    """The records of all workspaces, most recently active first, and of their snapshots."""

    def __init__(self, database: Database) -> None:
        super().__init__(
            database,
            "workspaces",
            Workspace,
            read=workspace_from_row,
            missing=no_workspace,
            check=lambda before, after: require_workspace_transition(before.title, before.state, after.state),
            order=lambda workspace: (-workspace.last_activity_at, workspace.id),
        )

    def lookup(self, handle: str) -> Workspace:
        """Return the workspace with the id or name `handle`, or the only one whose id begins with it.

        Raises:
            PyroError: NOT_FOUND; CONFLICT, naming the candidates, if several match.
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

    def delete(self, workspace_id: str) -> bool:
        """Delete a workspace with all its records; return whether it existed."""

        def transaction(connection: sqlite3.Connection) -> bool:
            forget_records(connection, workspace_id)
            connection.execute("DELETE FROM snapshots WHERE workspace_id = ?", (workspace_id,))
            return connection.execute("DELETE FROM workspaces WHERE id = ?", (workspace_id,)).rowcount > 0

        return self._database.write(transaction)

    def snapshots(self, workspace_id: str) -> list[Snapshot]:
        """Return a workspace's snapshots with readable records, oldest first, without the baseline."""
        query = "SELECT * FROM snapshots WHERE workspace_id = ? ORDER BY created_at, name"
        rows = self._database.rows(query, workspace_id)
        return [each for row in rows if (each := _snapshot(row)) is not None]

    def find_snapshot(self, workspace_id: str, name: str) -> Snapshot | None:
        """Return a snapshot, or None if it does not exist or its record is damaged."""
        return next((each for each in self.snapshots(workspace_id) if each.name == name), None)

    def forget_damaged_snapshots(self, workspace_id: str) -> None:
        """Delete unreadable records of snapshots."""

        def change(connection: sqlite3.Connection) -> None:
            query = "SELECT * FROM snapshots WHERE workspace_id = ?"
            damaged = [row for row in connection.execute(query, (workspace_id,)).fetchall() if _snapshot(row) is None]
            for row in damaged:
                remove_snapshot(connection, workspace_id, row["name"])

        self._database.write(change)

    def put_snapshots(self, workspace_id: str, snapshots: list[Snapshot]) -> None:
        """Record the existing snapshots of a restored workspace."""

        def change(connection: sqlite3.Connection) -> None:
            for snapshot in snapshots:
                insert_snapshot(connection, workspace_id, snapshot)

        self._database.write(change)


def insert_snapshot(connection: sqlite3.Connection, workspace_id: str, snapshot: Snapshot) -> None:
    """Record a snapshot, inside the caller's transaction.

    Raises:
        PyroError: CONFLICT if one with that name exists.
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
            f"the snapshot {snapshot.name!r} already exists",
            hint="Choose another name, or delete that one first.",
        ) from error


def remove_snapshot(connection: sqlite3.Connection, workspace_id: str, name: str) -> bool:
    """Delete a snapshot, inside the caller's transaction; return whether it existed."""
    deleted = connection.execute("DELETE FROM snapshots WHERE workspace_id = ? AND name = ?", (workspace_id, name))
    return deleted.rowcount > 0


def forget_records(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Delete a workspace's journal, inside the caller's transaction."""
    connection.execute("DELETE FROM commands WHERE workspace_id = ?", (workspace_id,))
    connection.execute("DELETE FROM events WHERE workspace_id = ?", (workspace_id,))


def no_workspace(handle: str) -> PyroError:
    """Return the error for a workspace that does not exist."""
    return PyroError(
        ErrorCode.NOT_FOUND,
        f"there is no workspace {handle[:_SHOWN_CHARS]!r}",
        hint="`pyro workspace list` lists the workspaces.",
        details={"workspace": handle[:_SHOWN_CHARS]},
    )


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
