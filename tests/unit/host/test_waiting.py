"""Waits have a name and an end."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import Deadline, wait_until


def test_a_wait_returns_what_the_predicate_found() -> None:
    answers = iter([None, "", "found"])
    assert wait_until(lambda: next(answers), timeout_s=30, what="an answer") == "found"


def test_a_wait_that_ends_in_vain_names_what_it_waited_for_and_shows_the_tail() -> None:
    with pytest.raises(PyroError) as caught:
        wait_until(lambda: None, timeout_s=0.01, what="the agent of vm_1", tail=lambda: "kernel panic\n")
    assert caught.value.code is ErrorCode.TIMEOUT
    assert caught.value.message == "waited 0.01 s for the agent of vm_1; the last output was:\nkernel panic"
    assert caught.value.details["tail"] == "kernel panic"


def test_a_wait_without_time_still_asks_once() -> None:
    asked: list[int] = []
    with pytest.raises(PyroError):
        wait_until(lambda: asked.append(1), timeout_s=0, what="nothing")
    assert asked == [1]


def test_what_comes_true_exactly_when_the_time_is_up_counts() -> None:
    deadline = Deadline(0.01, "the end")
    assert wait_until(lambda: deadline.expired, timeout_s=0.01, what="the end") is True


def test_an_error_in_the_predicate_passes_through() -> None:
    def fail() -> bool:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        wait_until(fail, timeout_s=30, what="anything")


def test_a_deadline_in_the_future_lets_pass() -> None:
    deadline = Deadline(1000, "much later")
    deadline.check()
    assert not deadline.expired
    assert 0 < deadline.remaining_s() <= 1000


def test_a_deadline_that_has_passed_raises_and_has_no_time_left() -> None:
    deadline = Deadline(0, "the QMP greeting")
    assert deadline.expired
    assert deadline.remaining_s() == 0
    with pytest.raises(PyroError, match=r"^waited 0 s for the QMP greeting \["):
        deadline.check()
