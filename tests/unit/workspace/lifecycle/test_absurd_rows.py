"""One absurd value in one row keeps nobody from the other rows (fault 23)."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.sdk import Pyro
from tests.support.host_fixture import HostFixture
from tests.support.vms import a_vm

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths

TABLES = ("workspaces", "snapshots", "commands", "events", "vms")
# SQLite has no NaN, and these tables refuse values of another type.
ABSURD = {
    "REAL": 1e308,
    "INTEGER": 2**63 - 1,
    "TEXT": "[" * 5000,
}


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    monkeypatch.setenv("PYRO_VMM", "none")
    host = HostFixture(private_paths)
    yield host
    host.close()


@pytest.mark.parametrize("table", TABLES)
def test_an_absurd_value_in_any_column_keeps_nobody_from_the_other_rows(host: HostFixture, table: str) -> None:
    faults: list[str] = []
    with Pyro(paths=host.paths) as pyro, closing(_connect(host)) as connection:
        scene = _Scene.of(host, pyro)
        for column, kind in connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall():
            with _one_row_changed(connection, table, column, ABSURD[kind], scene):
                faults += [f"{table}.{column}: {each}" for each in scene.faults(table)]
    assert faults == []


@dataclass(frozen=True)
class _Scene:
    """Two workspaces and two VMs; a row of the odd ones is changed."""

    pyro: Pyro
    whole: str
    odd: str
    whole_vm: str
    odd_vm: str

    @classmethod
    def of(cls, host: HostFixture, pyro: Pyro) -> _Scene:
        whole, odd = (pyro.create_workspace("debian:12", allow_host_compat=True).workspace_id for _ in range(2))
        pyro.exec_workspace(odd, command="true")
        pyro.create_snapshot(odd, "one")
        pyro.stop_workspace(odd)
        vms = [host.engine.store.vms.insert(a_vm(allow_host_compat=True)).id for _ in range(2)]
        return cls(pyro, whole, odd, *vms)

    def faults(self, table: str) -> list[str]:
        """Look at everything; the odd workspace too, which may have lost no more than that row."""
        found: list[str] = []
        try:
            if table == "vms":
                if self.whole_vm not in {each.vm_id for each in self.pyro.list_vms().vms}:
                    found.append("the other VM is not listed")
                return found
            listed = {each.workspace_id for each in self.pyro.list_workspaces().workspaces}
            found += [f"{each} is not listed" for each in (self.whole, self.odd) if each not in listed]
            names = [each.snapshot_name for each in self.pyro.list_snapshots(self.odd).snapshots]
            if names != ["baseline", "one"]:
                found.append(f"its snapshots are {names}")
            self.pyro.logs_workspace(self.odd)
            self.pyro.summarize_workspace(self.odd)
        except Exception as error:  # noqa: BLE001 - any is a fault
            found.append(repr(error))
        return found


def _connect(host: HostFixture) -> sqlite3.Connection:
    host.engine.reconcile()
    return sqlite3.connect(host.paths.database, isolation_level=None)


@contextmanager
def _one_row_changed(
    connection: sqlite3.Connection, table: str, column: str, value: object, scene: _Scene
) -> Generator[None]:
    key, owner = {"vms": ("id", scene.odd_vm), "workspaces": ("id", scene.odd)}.get(table, ("workspace_id", scene.odd))
    before = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (owner,)).fetchall()
    first = before[0]
    which = " AND ".join(f"{name} IS ?" for name in _keys(connection, table))
    values = [first[number] for number in _key_columns(connection, table)]
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {which}", (value, *values))
    yield
    connection.execute(f"DELETE FROM {table} WHERE {key} IN (?, ?)", (owner, value))
    marks = ", ".join("?" * len(first))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", before)


def _key_columns(connection: sqlite3.Connection, table: str) -> list[int]:
    return [row[0] for row in connection.execute("SELECT cid, pk FROM pragma_table_info(?)", (table,)) if row[1]]


def _keys(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)) if row[1]]
