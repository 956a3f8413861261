"""`make bench AGAINST=REV` with real guests: this installation against itself."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import against
from benchmarks.against import Side, available, compare
from benchmarks.workspaces import make_tree
from pyro_mcp.host.durable import remove_tree
from tests.support.thorough import sampled

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm


@pytest.fixture
def side(session_directories: Path) -> Generator[Side]:
    # Not tmp_path, which is too long for the sockets.
    place = session_directories / "bench"
    seed = make_tree(place / "seed", files=500, total_bytes=50_000)
    with ExitStack() as stack:
        stack.callback(remove_tree, place)
        yield stack.enter_context(Side(Path(sys.executable).parent, place / "side", "debian:12", seed))


@pytest.mark.timeout(300)
def test_every_row_is_compared(side: Side) -> None:
    compared = compare(side, side, sampled(list(available())), times=1, warm_ups=0)
    assert [each.note for each in compared if each.note] == []
    assert {len(each.ratios) for each in compared} == {1}
    assert all(ratio > 0 for each in compared for ratio in each.ratios)


def test_a_row_that_fails_is_reported_and_the_next_is_compared(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(against.COMMANDS, "version", ("no such command", ("no-such",)))
    failed, compared = compare(side, side, ["version", "help"], times=1, warm_ups=0)
    assert (failed.note.split(":")[0], failed.ratios) == ("here", [])
    assert len(compared.ratios) == 1
