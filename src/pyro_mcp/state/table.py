"""A table of records with an id and a state.

A change reads and writes in one transaction, so that concurrent updates are not lost. Illegal state transitions are
refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.state.database import Database
from pyro_mcp.state.records import columns, to_row

Record = TypeVar("Record", Vm, Workspace)
Also = Callable[[sqlite3.Connection], object]


class Table(Generic[Record]):
    """The records of the table `name`.

    `read` converts a row to a record, `missing` returns the error for a missing record, `check` raises for an illegal
    transition, and `order` is the sort key.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        kind: type[Record],
        *,
        read: Callable[[Mapping[str, object]], Record],
        missing: Callable[[str], PyroError],
        check: Callable[[Record, Record], None],
        order: Callable[[Record], tuple[float, str]],
    ) -> None:
        self._database = database
        self._read = read
        self._missing = missing
        self._check = check
        self._order = order
        names = columns(kind)
        # The names are the product's own, so nothing is injected.
        self._all = f"SELECT * FROM {name}"  # noqa: S608
        self._insert = f"INSERT INTO {name} ({', '.join(names)}) VALUES ({', '.join(f':{each}' for each in names)})"  # noqa: S608
        self._update = f"UPDATE {name} SET {', '.join(f'{each} = :{each}' for each in names[1:])} WHERE id = :id"  # noqa: S608

    def insert(self, record: Record, *, also: Also | None = None) -> Record:
        """Insert a new record; `also` runs in the same transaction.

        Raises:
            PyroError: CONFLICT if its id already exists; the errors of `also`.
        """

        def transaction(connection: sqlite3.Connection) -> None:
            self.insert_in(connection, record)
            if also is not None:
                also(connection)

        self._database.write(transaction)
        return record

    def insert_in(self, connection: sqlite3.Connection, record: Record) -> None:
        """Insert a new record, inside the caller's transaction.

        Raises:
            PyroError: CONFLICT if its id already exists.
        """
        try:
            connection.execute(self._insert, to_row(record))
        except sqlite3.IntegrityError as error:
            raise PyroError(ErrorCode.CONFLICT, f"{record.id} already exists") from error

    def find(self, record_id: str) -> Record | None:
        """Return a record, or None.

        Raises:
            PyroError: CORRUPT if it is damaged.
        """
        return self._database.read(lambda connection: self._find(connection, record_id))

    def get(self, record_id: str) -> Record:
        """Return a record.

        Raises:
            PyroError: NOT_FOUND; CORRUPT if it is damaged.
        """
        record = self.find(record_id)
        if record is None:
            raise self._missing(record_id)
        return record

    def all(self) -> tuple[list[Record], list[str]]:
        """Return all records in order, and the ids of damaged ones."""
        records: list[Record] = []
        damaged: list[str] = []
        for row in map(dict[str, object], self._database.rows(self._all)):
            try:
                records.append(self._read(row))
            except PyroError:
                damaged.append(str(row["id"]))
        return sorted(records, key=self._order), damaged

    def update(
        self, record_id: str, change: Callable[[Record], Record], *, also: Also | None = None, durable: bool = False
    ) -> Record:
        """Replace a record by the result of `change`, and return that. Both functions may be called twice.

        A `durable` change survives a power cut once this returns.

        Raises:
            PyroError: NOT_FOUND; CONFLICT for an illegal state transition; the errors of `change` and `also`.
        """

        def transaction(connection: sqlite3.Connection) -> Record:
            after = self.update_in(connection, record_id, change)
            if also is not None:
                also(connection)
            return after

        return self._database.write(transaction, durable=durable)

    def update_in(self, connection: sqlite3.Connection, record_id: str, change: Callable[[Record], Record]) -> Record:
        """Like `update`, inside the caller's transaction.

        Raises:
            PyroError: as `update`.
        """
        before = self._find(connection, record_id)
        if before is None:
            raise self._missing(record_id)
        after = change(before)
        if after.state is not before.state:
            self._check(before, after)
        if after != before:
            connection.execute(self._update, to_row(after))
        return after

    def _find(self, connection: sqlite3.Connection, record_id: str) -> Record | None:
        row = connection.execute(f"{self._all} WHERE id = ?", (record_id,)).fetchone()
        return None if row is None else self._read(dict(row))
