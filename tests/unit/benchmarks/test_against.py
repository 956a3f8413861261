"""What a comparison of two revisions prints of its pairs."""

from __future__ import annotations

import pytest

from benchmarks.against import Pairs, available, quartiles, table


def test_a_row_is_the_ratio_of_each_pair_not_of_the_medians() -> None:
    pairs = Pairs("exec-true", "exec of true", there=[10.0, 100.0, 20.0], here=[20.0, 100.0, 10.0])
    assert pairs.ratios == [2.0, 1.0, 0.5]
    assert pairs.cells() == ("exec-true", "exec of true", "20.0 ms", "20.0 ms", "1.00", "0.75 to 1.50", "3")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([2.0], (2.0, 2.0, 2.0)), ([1.0, 3.0], (1.5, 2.0, 2.5)), ([5.0, 1.0, 2.0, 3.0, 4.0], (2.0, 3.0, 4.0))],
)
def test_quartiles_are_those_of_the_samples(samples: list[float], expected: tuple[float, float, float]) -> None:
    assert quartiles(samples) == expected


def test_a_row_that_one_revision_lacks_has_a_note_and_no_figures() -> None:
    pairs = [Pairs("help", "pyro --help", [2.0], [1.0]), Pairs("diff", "diff", note="there: AttributeError: x")]
    shown = table(pairs).splitlines()
    assert shown[2].split("|")[5].strip() == "0.50"
    assert [cell.strip() for cell in shown[3].split("|")[3:8]] == ["", "", "", "", "0"]
    assert shown[-1] == "diff: not compared; there: AttributeError: x"
    assert pairs[1].to_json()["ratio"] is None


def test_every_command_but_the_one_with_a_guest_has_its_processor_time() -> None:
    assert {"version", "version-cpu", "help-cpu", "run", "exec-true"} <= set(available())
    assert "run-cpu" not in available()
