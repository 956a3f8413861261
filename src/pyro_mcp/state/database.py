"""The SQLite database: fast connections (a third of a millisecond), transactions, and recovery.

A file that is not a valid database is moved aside, with a notice of its new path, and a new one is created. The tables
are defined in `schema`.

WAL with synchronous=NORMAL: a power cut may lose the last transactions, but never the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.state import schema
from pyro_mcp.state.filenames import STORE_LOCK
from pyro_mcp.state.wal_anchor import WalAnchor

T = TypeVar("T")

MINIMUM_SQLITE = (3, 37, 0)  # STRICT tables
BUSY_TIMEOUT_S = 10.0
_LOCK_TIMEOUT_S = 30.0
# With a small log, recovery takes less than a millisecond when the first process opens the database.
_CHECKPOINT_PAGES = 100
_KEPT_ASIDE = 5
_DESCRIPTORS = 8
_SUFFIXES = ("", "-wal", "-shm")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """An open state database. Threads may share it: transactions are serialized."""

    def __init__(self, path: Path, notice: Callable[[str], None]) -> None:
        self.path = path
        self._notice = notice
        #: Called when the disk is full. If it returns True, space was freed and the action is retried.
        self.make_room: Callable[[], bool] = _no_room
        self._turn = threading.RLock()
        self._anchor: WalAnchor | None = None
        self._connection = self._open()

    def close(self) -> None:
        """Close the file. May be called repeatedly."""
        with self._turn:
            self._connection.close()
            if self._anchor is not None:
                self._anchor.release()
                self._anchor = None

    def refresh(self) -> None:
        """Reopen the database if another process has replaced it. Costs one stat."""
        with self._turn:
            if self._anchor is not None and not self._anchor.is_of(self.path):
                self.close()
                self._connection = self._open()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run the read-only `query`, and return its result.

        Raises:
            PyroError: BUSY, NO_SPACE, PERMISSION and others.
        """
        return self._attempt(query)

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            PyroError: BUSY, NO_SPACE, PERMISSION and others.
        """
        return self._attempt(lambda connection: connection.execute(query, values).fetchall())

    def write(self, change: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `change` as one transaction and return its result.

        A `durable` transaction, and all before it, survive a power cut once this returns. `change` may be run twice: if
        the database turns out to be damaged, it is run again on a new one.

        Raises:
            PyroError: BUSY, NO_SPACE, PERMISSION and others; the errors of `change`.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            if durable:
                # The log is synced after the commit; the level can't be changed within a transaction.
                connection.execute("PRAGMA synchronous=FULL")
            try:
                return in_transaction(connection)
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous=NORMAL")

        def in_transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = change(connection)
                fault_point("store.before_commit")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

        return self._attempt(transaction)

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T:
        with self._turn:
            try:
                return action(self._connection)
            except sqlite3.Error as error:
                if _code(error) & 0xFF == sqlite3.SQLITE_FULL and self.make_room():
                    return self._attempt(action)
                if not _is_damage(error):
                    raise self._error(error) from error
                reason = str(error)
            self._set_aside(reason)
            try:
                return action(self._connection)
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except _UnusableError as error:
            return self._make(str(error))
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise self._error(error) from error
            return self._make(str(error))

    def _connect(self) -> sqlite3.Connection:
        """Connect to an existing database of the current version.

        Raises:
            _UnusableError, sqlite3.Error: it must be created, migrated or moved aside.
        """
        try:
            anchor = WalAnchor.take(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise _UnusableError from None
        except OSError as error:
            raise from_os_error(error, f"open {self.path}") from error
        connection = None
        try:
            connection = _connection(self.path)
            version = _version(connection)
            if version != schema.VERSION:
                raise _UnusableError(f"its version {version} is not {schema.VERSION}")
            # A restored backup may have another journal mode, in which the lock below would block all writers.
            if not anchor.is_wal():
                connection.execute("PRAGMA journal_mode=WAL")
            anchor.hold()
        except BaseException:
            if connection is not None:
                connection.close()
            anchor.release()
            raise
        self._anchor = anchor
        return connection

    def _make(self, reason: str) -> sqlite3.Connection:
        """Create or migrate the database, moving an unusable one aside. One process does this while others wait."""
        directory = ensure_private_dir(self.path.parent)
        if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"Python's SQLite is {sqlite3.sqlite_version}, but 3.37 or later is required",
                hint="Use a newer Python, for example the one that uv installs.",
            )
        with file_lock(directory / STORE_LOCK, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the state database"):
            with suppress(_UnusableError, sqlite3.Error):
                return self._connect()
            try:
                self._migrate()
            except _UnusableError as error:
                self._move_aside(str(error))
                self._migrate()
            except sqlite3.Error as error:
                # Tables already exist although the version is 0: the file was modified by another program.
                if not _is_damage(error) and _code(error) != sqlite3.SQLITE_ERROR:
                    raise self._error(error) from error
                self._move_aside(reason or str(error))
                self._migrate()
            try:
                return self._connect()
            except (_UnusableError, sqlite3.Error) as error:
                raise PyroError(ErrorCode.CORRUPT, f"the state database {self.path} can't be used: {error}") from error

    def _migrate(self) -> None:
        """Migrate the file to the current version; a missing file starts empty at version 0."""
        with os_errors(f"open {self.path}"):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        connection = _connection(self.path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN EXCLUSIVE")
            version = _version(connection)
            if version > schema.VERSION:
                raise _UnusableError(f"a newer pyro made it (version {version}, this one knows {schema.VERSION})")
            schema.migrate(connection, version)
            fault_point("store.before_migrate_commit")
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _set_aside(self, reason: str) -> None:
        """Replace the open, damaged database by a new one."""
        damaged = self._anchor
        self._connection.close()
        self._anchor = None
        try:
            directory = ensure_private_dir(self.path.parent)
            with file_lock(directory / STORE_LOCK, timeout_s=_LOCK_TIMEOUT_S, waiting_for="the state database"):
                # Another process may have done it while this one waited.
                if damaged is None or damaged.is_of(self.path):
                    self._move_aside(reason)
        finally:
            if damaged is not None:
                damaged.release()
        self._connection = self._open()

    def _move_aside(self, reason: str) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.unusable-{stamp}-{os.urandom(3).hex()}")
        with os_errors(f"move the damaged {self.path} aside"):
            for suffix in _SUFFIXES:
                with suppress(FileNotFoundError):
                    os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
                fault_point("store.moving_aside")
        self._notice(
            f"the state database could not be used ({reason}); it was moved to {aside}, and a new one was created."
            " Machines that are still running are restored."
        )
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        names = sorted(name for name in os.listdir(self.path.parent) if name.startswith(f"{self.path.name}.unusable-"))
        kept = sorted({name.removesuffix("-wal").removesuffix("-shm") for name in names})[-_KEPT_ASIDE:]
        for name in names:
            if not name.startswith(tuple(kept)):
                with suppress(OSError):
                    os.unlink(self.path.parent / name)

    def _error(self, error: sqlite3.Error) -> PyroError:
        match _code(error) & 0xFF:
            case sqlite3.SQLITE_FULL:
                return PyroError(
                    ErrorCode.NO_SPACE,
                    f"the disk that holds {self.path} is full",
                    hint="Free some disk space, or use another directory with PYRO_STATE_DIR.",
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return PyroError(
                    ErrorCode.BUSY,
                    f"the state database {self.path} was in use for more than {BUSY_TIMEOUT_S:g} s",
                    hint="Run the command again.",
                )
            case sqlite3.SQLITE_CANTOPEN if (cause := self._why_not_opened()) is not None:
                return from_os_error(cause, f"open {self.path}")
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
                return PyroError(
                    ErrorCode.PERMISSION,
                    f"the state database {self.path} can't be written: {error}",
                    hint="Check the owner and mode of its directory, or choose another with PYRO_STATE_DIR.",
                )
            case sqlite3.SQLITE_IOERR:
                return PyroError(
                    ErrorCode.UNAVAILABLE,
                    f"the state database {self.path} can't be read or written: {error}",
                    hint="Check that disk's space and health, or use another directory with PYRO_STATE_DIR.",
                )
            case _:
                return PyroError(ErrorCode.INTERNAL, f"the state database {self.path} refused: {error}")

    def _why_not_opened(self) -> OSError | None:
        """Return the error that keeps files from being opened, which SQLite does not report."""
        fds: list[int] = []
        try:
            # As many as a database needs, since SQLite has closed its own again.
            for _ in range(_DESCRIPTORS):
                fds.append(os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))  # noqa: PERF401 - each must be closed
        except OSError as error:
            return error
        finally:
            for fd in fds:
                os.close(fd)
        return None


def _no_room() -> bool:
    return False


class _UnusableError(Exception):
    """The file must be created, migrated or moved aside."""


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES:d}")
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _code(error: sqlite3.Error) -> int:
    # Errors raised by the sqlite3 module itself, for example for a closed connection, have no code.
    return getattr(error, "sqlite_errorcode", -1)


def _is_damage(error: sqlite3.Error) -> bool:
    code = _code(error)
    # A truncated file is reported as an extended I/O error (sqlite.org/rescode.html).
    return code & 0xFF in _DAMAGED or code == sqlite3.SQLITE_IOERR_SHORT_READ or _says_no_table(error)


def _says_no_table(error: sqlite3.Error) -> bool:
    # The version is current but tables are missing: the file was modified by another program.
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith(("no such table", "no such column"))
