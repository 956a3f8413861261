"""The database is made once, shared by processes, and replaced with a notice when it can't be used (fault 23)."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.state import schema
from pyro_mcp.state.store import Store
from tests.support.python import run_python
from tests.support.vms import a_vm

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.state.database import Database

OPEN_AND_LIST = """
from pyro_mcp.host.paths import Paths
from pyro_mcp.state.store import Store
with Store(Paths.from_environment(), print) as store:
    for vm in store.vms.all()[0]:
        print(vm.id)
"""


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def store(private_paths: Paths, notices: list[str]) -> Generator[Store]:
    with Store(private_paths, notices.append) as store:
        yield store


def aside(paths: Paths) -> list[str]:
    return sorted(name for name in os.listdir(paths.state) if ".unusable-" in name and name.count("-") == 2)


def write_all(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def a_used_database(paths: Paths) -> None:
    with Store(paths, print) as store:
        for _ in range(40):
            store.vms.insert(a_vm())
    # Everything into the main file, so that damaging that one counts.
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_new_database_is_private_and_has_the_newest_version(store: Store, private_paths: Paths) -> None:
    assert store.vms.all() == ([], [])
    assert private_paths.database.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(private_paths.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_one_process_writes_another_reads(store: Store) -> None:
    vm = store.vms.insert(a_vm())
    assert run_python(OPEN_AND_LIST).text == vm.id


def test_closing_keeps_the_log_and_the_next_process_reads_it(private_paths: Paths) -> None:
    with Store(private_paths, print) as store:
        vm = store.vms.insert(a_vm())
    assert private_paths.database.with_name("state.db-wal").stat().st_size > 0
    assert run_python(OPEN_AND_LIST).text == vm.id


def test_the_log_does_not_grow_without_bound(store: Store, private_paths: Paths) -> None:
    for _ in range(500):
        vm = store.vms.insert(a_vm())
        store.vms.delete(vm.id)
    assert private_paths.database.with_name("state.db-wal").stat().st_size < 1024 * 1024


def test_two_stores_in_one_process_can_be_closed_in_any_order(private_paths: Paths) -> None:
    first, second = Store(private_paths, print), Store(private_paths, print)
    vm = first.vms.insert(a_vm())
    first.close()
    assert run_python(OPEN_AND_LIST).text == vm.id
    assert second.vms.get(vm.id) == vm
    second.close()
    second.close()


def test_processes_that_all_make_the_database_at_once_agree_on_one(private_paths: Paths) -> None:
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(Store(private_paths, print))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.vms.insert(a_vm())
    assert [len(store.vms.all()[0]) for store in stores] == [8] * 8
    for store in stores:
        store.close()
    assert aside(private_paths) == []


@pytest.mark.parametrize(
    "content",
    [b"this is no database at all " * 200, b"SQLite format 3\0" + bytes(8000), os.urandom(20000)],
    ids=["text", "header alone", "noise"],
)
def test_a_file_that_is_no_database_is_moved_aside_and_the_notice_says_where(
    private_paths: Paths, notices: list[str], content: bytes
) -> None:
    write_all(private_paths.database, content)
    with Store(private_paths, notices.append) as store:
        vm = store.vms.insert(a_vm())
        assert store.vms.get(vm.id) == vm
    (kept,) = aside(private_paths)
    assert (private_paths.state / kept).read_bytes() == content
    assert str(private_paths.state / kept) in "".join(notices)


def test_a_database_of_a_future_version_is_moved_aside_and_not_written_to(
    private_paths: Paths, notices: list[str]
) -> None:
    a_used_database(private_paths)
    with closing(sqlite3.connect(private_paths.database)) as connection:
        connection.execute("PRAGMA user_version = 4711")
    with Store(private_paths, notices.append) as store:
        assert store.vms.all() == ([], [])
    (kept,) = aside(private_paths)
    assert "a newer pyro made it (version 4711" in notices[0]
    with closing(sqlite3.connect(private_paths.state / kept)) as connection:
        assert connection.execute("SELECT count(*) FROM vms").fetchone() == (40,)


@pytest.mark.parametrize("kept_bytes", [0, 1, 50, 100, 4096, 5000, 8192])
def test_a_truncated_database_is_replaced_without_a_traceback(
    private_paths: Paths, notices: list[str], kept_bytes: int
) -> None:
    a_used_database(private_paths)
    os.truncate(private_paths.database, kept_bytes)
    with Store(private_paths, notices.append) as store:
        assert store.vms.all() == ([], [])
        vm = store.vms.insert(a_vm())
        assert store.vms.all() == ([vm], [])
    # To SQLite a single byte is nothing at all, and there is nothing to keep.
    assert len(aside(private_paths)) == len(notices) == (kept_bytes > 1)


def test_damage_that_shows_only_while_it_is_used_is_met_in_the_same_way(
    private_paths: Paths, notices: list[str]
) -> None:
    a_used_database(private_paths)
    with Store(private_paths, notices.append) as store:
        with open(private_paths.database, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (private_paths.database.stat().st_size - 4096))
        vm = store.vms.insert(a_vm())
        assert store.vms.all() == ([vm], [])
    assert len(aside(private_paths)) == 1


def test_a_database_without_its_table_is_replaced(private_paths: Paths, notices: list[str]) -> None:
    a_used_database(private_paths)
    with closing(sqlite3.connect(private_paths.database)) as connection:
        connection.execute("DROP TABLE vms")
    with Store(private_paths, notices.append) as store:
        assert store.vms.all() == ([], [])
    assert len(aside(private_paths)) == 1


def test_a_process_follows_when_another_replaces_the_database(private_paths: Paths, store: Store) -> None:
    store.vms.insert(a_vm())
    private_paths.database.rename(private_paths.state / "elsewhere.db")
    for suffix in ("-wal", "-shm"):
        private_paths.database.with_name(f"state.db{suffix}").unlink()
    with Store(private_paths, print) as other:
        vm = other.vms.insert(a_vm())
    store.refresh()
    assert store.vms.all() == ([vm], [])


def test_only_the_last_few_unusable_databases_are_kept(private_paths: Paths) -> None:
    for number in range(9):
        write_all(private_paths.database, b"bad %d" % number * 100)
        Store(private_paths, print).close()
        private_paths.database.unlink()
    assert len(aside(private_paths)) == 5


def test_a_directory_that_can_not_be_written_is_an_error_with_a_remedy(private_paths: Paths) -> None:
    private_paths.state.parent.mkdir(parents=True, exist_ok=True)
    private_paths.state.write_text("a file where the directory should be")
    with pytest.raises(PyroError) as caught:
        Store(private_paths, print)
    assert caught.value.code in {ErrorCode.INVALID, ErrorCode.PERMISSION}
    assert "PYRO_STATE_DIR" in caught.value.hint


def test_a_full_disk_is_called_that(store: Store) -> None:
    database: Database = store.vms._database  # pyright: ignore[reportPrivateUsage]

    def limit(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    database.read(limit)

    def fill() -> None:
        for _ in range(1000):
            store.vms.insert(a_vm())

    with pytest.raises(PyroError) as caught:
        fill()
    assert caught.value.code is ErrorCode.NO_SPACE


def test_a_transaction_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", "store.before_commit:raise")
    with pytest.raises(PyroError, match=r"store\.before_commit"):
        store.vms.insert(a_vm())
    monkeypatch.delenv("PYRO_FAULT_POINT")
    assert store.vms.all() == ([], [])
