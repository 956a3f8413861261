"""The database's tables, as a sequence of migrations.

A released version never changes: each entry of `MIGRATIONS` migrates the database from the version of its index to the
next; columns are added (optional), never renamed.
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

# The VM that runs a workspace belongs to it.
_VMS_OF_WORKSPACES = "ALTER TABLE vms ADD COLUMN workspace_id TEXT NOT NULL DEFAULT ''"

_WORKSPACES = """
CREATE TABLE workspaces (
    id TEXT PRIMARY KEY,
    name TEXT,
    labels TEXT NOT NULL,
    environment TEXT NOT NULL,
    base_digest TEXT,
    base_path TEXT,
    variables TEXT NOT NULL,
    boot_digest TEXT NOT NULL,
    vcpu_count INTEGER NOT NULL,
    mem_mib INTEGER NOT NULL,
    ttl_s INTEGER NOT NULL,
    network_policy TEXT NOT NULL,
    allow_host_compat INTEGER NOT NULL,
    require_kvm INTEGER NOT NULL,
    state TEXT NOT NULL,
    stop_reason TEXT,
    execution_mode TEXT,
    isolation TEXT,
    seed TEXT NOT NULL,
    created_at REAL NOT NULL,
    last_activity_at REAL NOT NULL,
    expires_at REAL,
    boot_id TEXT NOT NULL,
    deadline_boottime_s REAL NOT NULL,
    reset_count INTEGER NOT NULL,
    last_reset_at REAL,
    command_count INTEGER NOT NULL,
    life INTEGER NOT NULL,
    vm_id TEXT NOT NULL,
    owner_pid INTEGER,
    owner_start_time INTEGER,
    owner_boot_id TEXT,
    last_error TEXT NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID
"""

_WORKSPACE_NAMES = "CREATE UNIQUE INDEX workspace_names ON workspaces (name) WHERE name IS NOT NULL"

_SNAPSHOTS = """
CREATE TABLE snapshots (
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at REAL NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, name)
) STRICT, WITHOUT ROWID
"""

# Guests' texts can be long, so rows are stored outside the index. Values that may contain any bytes are JSON.
_COMMANDS = """
CREATE TABLE commands (
    workspace_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    command TEXT NOT NULL,
    cwd TEXT NOT NULL,
    started_at REAL NOT NULL,
    exit_code INTEGER,
    timed_out INTEGER NOT NULL,
    oom_killed INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    stdout TEXT NOT NULL,
    stderr TEXT NOT NULL,
    stdout_bytes INTEGER NOT NULL,
    stderr_bytes INTEGER NOT NULL,
    stdout_truncated INTEGER NOT NULL,
    stderr_truncated INTEGER NOT NULL,
    stdout_file_bytes INTEGER NOT NULL,
    stderr_file_bytes INTEGER NOT NULL,
    error TEXT NOT NULL,
    owner_pid INTEGER,
    owner_start_time INTEGER,
    owner_boot_id TEXT,
    PRIMARY KEY (workspace_id, seq)
) STRICT
"""

_EVENTS = """
CREATE TABLE events (
    workspace_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (workspace_id, seq)
) STRICT
"""

# The names and sources of secrets, never their values.
_SECRETS_OF_WORKSPACES = "ALTER TABLE workspaces ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]'"

# Names need not be unique.
_SHARED_NAMES = "DROP INDEX workspace_names"
# NULL: a snapshot of only /workspace.
_ROOTS_OF_SNAPSHOTS = "ALTER TABLE snapshots ADD COLUMN root_size_bytes INTEGER"
# The subjects of certificates; the certificates themselves are in a file.
_CERTIFICATES_OF_WORKSPACES = "ALTER TABLE workspaces ADD COLUMN ca_certificates TEXT NOT NULL DEFAULT '[]'"
# The hosts that a guest may reach beyond its policy.
_HOSTS = tuple(
    f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT '[]'"
    for table in ("vms", "workspaces")
    for column in ("allow_hosts", "deny_hosts")
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (_VMS,),
    (_VMS_OF_WORKSPACES, _WORKSPACES, _WORKSPACE_NAMES, _SNAPSHOTS, _COMMANDS, _EVENTS),
    (_SECRETS_OF_WORKSPACES,),
    (_SHARED_NAMES,),
    (_ROOTS_OF_SNAPSHOTS,),
    (_CERTIFICATES_OF_WORKSPACES,),
    _HOSTS,
)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate the tables from `version` to the newest, inside the caller's transaction."""
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    # A pragma accepts no parameters; the version is our own constant.
    connection.execute(f"PRAGMA user_version = {VERSION:d}")
