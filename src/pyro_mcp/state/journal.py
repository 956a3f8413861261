"""The journal of a workspace: the commands that were run in it, and other events that a reviewer wants to see.

One sequence numbers the rows of both tables. The time of the last activity is set here too, as it nearly always changes
with them. The database keeps only the beginning and the end of a command's output; all of it, up to a bound, is in
files.

A reset clears the journal but not the sequence, so that no number is used twice.
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

# Of commands before the last so many, less of the output is kept: a journal must not grow with a workspace's age.
RECENT_COMMANDS = 1000
_OLD_TEXT_CHARS = 1024
# These do not change a workspace and are no activity, though a reviewer wants to know of them.
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
# A damaged counter begins again; a row with the same number is then replaced.
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
    """Record the use of a workspace, which renews its time to live, and an event about it.

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
    """Move the moment of the last activity, inside the caller's transaction."""
    connection.execute(_ACTIVE, {"id": workspace_id, "now": clock.wall_s(), "boottime": clock.boottime_s()})


def put_event(connection: sqlite3.Connection, workspace_id: str, event: ReviewEvent, clock: Clock) -> None:
    """Record an event, inside the caller's transaction. A workspace that is gone has no journal any more."""
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
    """Record how a command ended. A command of a generation that is over is forgotten, and stays so.

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
    """Return the commands that were run since the last reset, oldest first."""
    query = "SELECT * FROM commands WHERE workspace_id = ? ORDER BY seq"
    return _readable(store.database.rows(query, workspace_id), CommandRecord)


def events_of(store: Store, workspace_id: str) -> list[ReviewEvent]:
    """Return what happened since the last reset, oldest first."""
    query = "SELECT * FROM events WHERE workspace_id = ? ORDER BY seq"
    return _readable(store.database.rows(query, workspace_id), ReviewEvent)


def _readable(rows: list[sqlite3.Row], kind: type[T]) -> list[T]:
    """Return what the rows stand for; a damaged one is left out, as no work depends on it."""
    found: list[T] = []
    for row in rows:
        with suppress(PyroError):
            found.append(from_row(kind, dict(row)))
    return found


def _next_seq(connection: sqlite3.Connection, workspace_id: str) -> int:
    row = connection.execute(_NEXT_SEQ, (workspace_id,)).fetchone()
    return 0 if row is None else int(row["last_seq"])
