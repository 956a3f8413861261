"""The journal of a workspace: its commands, and other events that are relevant to a reviewer.

Both tables share one sequence of numbers. The time of the last activity is also set here, since it usually changes with
them. The database keeps only the beginning and the end of a command's output; the whole output, up to a limit, is in
files.

A reset clears the journal but not the sequence, so that no number is reused.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pyro_mcp.errors import PyroError
from pyro_mcp.model.workspace import CommandRecord, ReviewEvent, ReviewKind
from pyro_mcp.state.records import columns, from_row, to_row

if TYPE_CHECKING:
    import sqlite3

    from pyro_mcp.state.clock import Clock
    from pyro_mcp.state.store import Store

T = TypeVar("T")

# Less output is kept for commands before the last RECENT_COMMANDS, so that old workspaces don't grow without limit.
RECENT_COMMANDS = 1000
_OLD_TEXT_CHARS = 1024
# Events that don't change the workspace and don't count as activity, but are relevant to a reviewer.
_QUIET = {ReviewKind.EXPORT}

_ACTIVE = """
UPDATE workspaces SET
    last_activity_at = max(last_activity_at, :now),
    expires_at = CASE WHEN vm_id <> '' THEN :now + ttl_s ELSE expires_at END,
    deadline_boottime_s = CASE WHEN vm_id <> '' THEN :boottime + ttl_s ELSE deadline_boottime_s END
WHERE id = :id
"""
_FIELDS = [name for name in columns(CommandRecord) if name != "seq"]
# The column names are this module's own, so nothing is injected.
_INSERT = (
    f"INSERT OR REPLACE INTO commands (workspace_id, seq, {', '.join(_FIELDS)})"  # noqa: S608
    f" VALUES (:workspace_id, :seq, {', '.join(f':{name}' for name in _FIELDS)})"
)
_UPDATE = (
    f"UPDATE commands SET {', '.join(f'{name} = :{name}' for name in _FIELDS)}"  # noqa: S608
    " WHERE workspace_id = :workspace_id AND seq = :seq"
)
# A damaged counter restarts; a row with the same number is then replaced.
_NEXT_SEQ = """
UPDATE workspaces SET last_seq = 1 + CASE WHEN last_seq BETWEEN 0 AND 9007199254740992 THEN last_seq ELSE 0 END
WHERE id = ? RETURNING last_seq
"""
_SHORTEN = """
UPDATE commands SET
    stdout = substr(stdout, 1, :chars), stderr = substr(stderr, 1, :chars),
    stdout_truncated = stdout_truncated OR length(stdout) > :chars,
    stderr_truncated = stderr_truncated OR length(stderr) > :chars
WHERE workspace_id = :workspace_id AND seq = :seq
"""


def note_activity(store: Store, clock: Clock, workspace_id: str, *, event: ReviewEvent | None = None) -> None:
    """Record the use of a workspace, which renews its time to live, and optionally an event.

    Raises:
        PyroError: NO_SPACE, BUSY and others of the store.
    """

    def change(connection: sqlite3.Connection) -> None:
        if event is None or event.kind not in _QUIET:
            be_active(connection, workspace_id, clock)
        if event is not None:
            put_event(connection, workspace_id, event, clock)

    store.database.write(change)


def be_active(connection: sqlite3.Connection, workspace_id: str, clock: Clock) -> None:
    """Update the time of the last activity, inside the caller's transaction."""
    connection.execute(_ACTIVE, {"id": workspace_id, "now": clock.wall_s(), "boottime": clock.boottime_s()})


def put_event(connection: sqlite3.Connection, workspace_id: str, event: ReviewEvent, clock: Clock) -> None:
    """Record an event, inside the caller's transaction, unless the workspace no longer exists."""
    seq = _next_seq(connection, workspace_id)
    if seq:
        connection.execute(
            "INSERT OR REPLACE INTO events (workspace_id, seq, kind, at, summary) VALUES (?, ?, ?, ?, ?)",
            (workspace_id, seq, event.kind.value, clock.wall_s(), json.dumps(dict(event.summary))),
        )


def begin_command(store: Store, workspace_id: str, record: CommandRecord) -> int:
    """Record a command that is about to run, and return its number.

    Raises:
        PyroError: NO_SPACE, BUSY and others of the store.
    """

    def change(connection: sqlite3.Connection) -> int:
        seq = _next_seq(connection, workspace_id)
        connection.execute(
            "UPDATE workspaces SET command_count = command_count + 1 WHERE id = ?",
            (workspace_id,),
        )
        connection.execute(_INSERT, {"workspace_id": workspace_id, **to_row(record), "seq": seq})
        old = connection.execute(
            "SELECT seq FROM commands WHERE workspace_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
            (workspace_id, RECENT_COMMANDS),
        ).fetchone()
        if old is not None:
            connection.execute(_SHORTEN, {"workspace_id": workspace_id, "seq": old["seq"], "chars": _OLD_TEXT_CHARS})
        return seq

    return store.database.write(change)


def end_command(store: Store, clock: Clock, workspace_id: str, record: CommandRecord) -> None:
    """Record how a command ended. Commands of an earlier generation are not recorded again.

    Raises:
        PyroError: NO_SPACE, BUSY and others of the store.
    """
    event = ReviewEvent(
        ReviewKind.COMMAND,
        {
            "command_seq": record.seq,
            "exit_code": record.exit_code,
            "timed_out": record.timed_out,
            "duration_ms": record.duration_ms,
            **({"error": record.error} if record.error else {}),
        },
    )

    def change(connection: sqlite3.Connection) -> None:
        row = {"workspace_id": workspace_id, **to_row(record)}
        if connection.execute(_UPDATE, row).rowcount:
            be_active(connection, workspace_id, clock)
            put_event(connection, workspace_id, event, clock)

    store.database.write(change)


def commands_of(store: Store, workspace_id: str) -> list[CommandRecord]:
    """Return the commands since the last reset, oldest first."""
    query = "SELECT * FROM commands WHERE workspace_id = ? ORDER BY seq"
    return _readable(store.database.rows(query, workspace_id), CommandRecord)


def events_of(store: Store, workspace_id: str) -> list[ReviewEvent]:
    """Return the events since the last reset, oldest first."""
    query = "SELECT * FROM events WHERE workspace_id = ? ORDER BY seq"
    return _readable(store.database.rows(query, workspace_id), ReviewEvent)


def _readable(rows: list[sqlite3.Row], kind: type[T]) -> list[T]:
    """Return the records of the rows, skipping damaged ones, on which nothing depends."""
    found: list[T] = []
    for row in rows:
        with suppress(PyroError):
            found.append(from_row(kind, dict(row)))
    return found


def _next_seq(connection: sqlite3.Connection, workspace_id: str) -> int:
    row = connection.execute(_NEXT_SEQ, (workspace_id,)).fetchone()
    return 0 if row is None else int(row["last_seq"])
