"""The reserve: given up piece by piece on a full disk, made whole when there is room."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.state import reserve
from pyro_mcp.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths


@pytest.fixture
def place(private_paths: Paths) -> Path:
    private_paths.state.mkdir(parents=True, exist_ok=True)
    return private_paths.state / reserve.NAME


def blocks(place: Path) -> int:
    return sum(entry.stat().st_blocks for entry in os.scandir(place))


def test_it_takes_space_and_is_made_whole_again(private_paths: Paths, place: Path) -> None:
    reserve.take_reserve(private_paths)
    whole = blocks(place)
    assert whole * 512 >= 4 * 1024**2
    assert reserve.give_up_piece(private_paths)
    assert blocks(place) < whole
    reserve.take_reserve(private_paths)
    assert blocks(place) == whole


def test_it_is_given_up_to_the_last_piece_and_no_further(private_paths: Paths, place: Path) -> None:
    reserve.take_reserve(private_paths)
    for _ in range(reserve.PIECES):
        assert reserve.give_up_piece(private_paths)
    assert not reserve.give_up_piece(private_paths)
    assert os.listdir(place) == []


def test_it_is_not_taken_where_there_is_little_room(
    private_paths: Paths, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "MIN_FREE_BYTES", 1 << 60)
    reserve.take_reserve(private_paths)
    assert not place.exists()


def test_a_full_database_uses_it_and_repeats_the_change(private_paths: Paths, place: Path) -> None:
    reserve.take_reserve(private_paths)
    with Store(private_paths, lambda _: None) as store:
        refusals = 2

        def change(connection: sqlite3.Connection) -> str:
            nonlocal refusals
            refusals -= 1
            if refusals >= 0:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return "done"

        with pytest.raises(PyroError) as caught:
            store.database.write(change)
        assert caught.value.code is ErrorCode.NO_SPACE
        refusals = 2
        store.database.make_room = lambda: reserve.give_up_piece(private_paths)
        assert store.database.write(change) == "done"
    assert len(os.listdir(place)) == reserve.PIECES - 2
