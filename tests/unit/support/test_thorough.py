"""A quick run tries a share, a thorough one everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.thorough import ALL_VARIABLE, SAMPLE_COUNT, examples, sampled

if TYPE_CHECKING:
    import pytest

POINTS = [f"point{number}" for number in range(23)]


def test_a_quick_run_dies_at_the_first_the_last_and_some_points_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALL_VARIABLE, raising=False)
    chosen = sampled(POINTS)
    assert (len(chosen), chosen[0], chosen[-1]) == (SAMPLE_COUNT, POINTS[0], POINTS[-1])
    assert sorted(set(chosen), key=POINTS.index) == chosen
    for count in range(SAMPLE_COUNT + 1):
        assert sampled(POINTS[:count]) == POINTS[:count]


def test_a_quick_run_tries_a_share_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALL_VARIABLE, raising=False)
    assert [examples(full) for full in (5, 60, 500)] == [5, 12, 100]


def test_a_thorough_run_tries_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALL_VARIABLE, "1")
    assert sampled(POINTS) == POINTS
    assert examples(500) == 500
