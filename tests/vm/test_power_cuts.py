"""What was acknowledged survives a power cut (faults 4, 22 and 23); `make power-cuts` cuts a hundred times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.power.cuts import Plan, cut_power
from tests.support.power.disk import missing
from tests.support.stress.rounds import Stress, stress

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300), pytest.mark.skipif(missing() != "", reason=missing())]


def test_what_was_acknowledged_survives_power_cuts_at_random_moments(tmp_path: Path) -> None:
    outcomes = list(cut_power(Plan(cuts=4, seconds=3, processes=2, size_mib=256), tmp_path))
    assert len(outcomes) == 4
    assert [str(each) for each in outcomes if each.faults or each.aside] == []
    assert all(each.examined for each in outcomes)


def test_a_real_guest_starts_again_after_a_power_cut(tmp_path: Path) -> None:
    (outcome,) = cut_power(Plan(cuts=1, seconds=1, processes=1, guests=True, size_mib=1024), tmp_path)
    assert (outcome.faults, outcome.aside) == ((), ())
    assert outcome.examined


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_left_when_callers_and_machines_are_killed_and_the_power_is_cut(tmp_path: Path) -> None:
    tally = stress(Stress(minutes=0.1, rounds=2, processes=2, seed=1, size_mib=2048), tmp_path)
    assert tally.faults == []
    assert tally.compared
    assert tally.cuts == 1
