"""A table of records that have an id and a state.

A change reads and writes in one transaction, so that no update of another process is lost. Transitions that the model
does not have are refused.
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

    `read` makes a record from its row, `missing` the error where there is none, `check` the one for a state that may
    not follow, and `order` says which comes first.
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
        """Record a new one; `also` is done in the same transaction.

        Raises:
            PyroError: CONFLICT if its id already exists; what `also` raises.
        """

        def transaction(connection: sqlite3.Connection) -> None:
            self.insert_in(connection, record)
            if also is not None:
                also(connection)

        self._database.write(transaction)
        return record

    def insert_in(self, connection: sqlite3.Connection, record: Record) -> None:
        """Record a new one, inside the caller's transaction.

        Raises:
            PyroError: CONFLICT if its id already exists.
        """
        try:
            connection.execute(self._insert, to_row(record))
        except sqlite3.IntegrityError as error:
            raise PyroError(ErrorCode.CONFLICT, f"{record.id} is recorded already") from error

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
        """Return every record in order, and the ids of those that are damaged."""
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
        """Replace a record by what `change` makes of it, and return that; both functions may be called twice.

        A `durable` change survives a power cut once this returns.

        Raises:
            PyroError: NOT_FOUND; CONFLICT if the state that `change` gave may not follow; what `change` and `also`
                raise.
        """

        def transaction(connection: sqlite3.Connection) -> Record:
            after = self.update_in(connection, record_id, change)
            if also is not None:
                also(connection)
            return after

        return self._database.write(transaction, durable=durable)

    def update_in(self, connection: sqlite3.Connection, record_id: str, change: Callable[[Record], Record]) -> Record:
        """Do the same inside the caller's transaction.

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
