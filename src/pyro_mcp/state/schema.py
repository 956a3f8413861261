"""The database's tables, one version after the other.

Owns the SQL that makes and changes tables. Refuses to change a version that was released: each entry of `MIGRATIONS`
takes the database from the version of its index to the next, columns are added (optional), never renamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_VMS = """
CREATE TABLE vms (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    base_digest TEXT,
    base_path TEXT,
    boot_digest TEXT NOT NULL,
    variables TEXT NOT NULL,
    vcpu_count INTEGER NOT NULL,
    mem_mib INTEGER NOT NULL,
    network_policy TEXT NOT NULL,
    allow_host_compat INTEGER NOT NULL,
    require_kvm INTEGER NOT NULL,
    ephemeral INTEGER NOT NULL,
    state TEXT NOT NULL,
    stop_reason TEXT,
    execution_mode TEXT,
    isolation TEXT,
    machine TEXT,
    network TEXT,
    owner_pid INTEGER,
    owner_start_time INTEGER,
    owner_boot_id TEXT,
    ttl_s INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    boot_id TEXT NOT NULL,
    expires_boottime_s REAL NOT NULL,
    last_error TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = ((_VMS,),)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take the tables from `version` to the newest, inside the caller's transaction."""
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    # A pragma takes no parameters; the version is a number of ours.
    connection.execute(f"PRAGMA user_version = {VERSION:d}")
