"""Results made from the values that they show."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pyro_mcp.model.command import Captured
from pyro_mcp.model.kinds import Isolation
from pyro_mcp.operations.operation import Result, result_of


@dataclass(frozen=True, slots=True)
class Shown(Result):
    """A result with a field of its own."""

    note: str
    isolation: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Ended(Captured):
    """A command's end with more than is shown of it."""

    isolation: Isolation | None
    secret: str = field(default="never shown", kw_only=True)


def test_fields_come_from_the_value_unless_they_are_given() -> None:
    assert result_of(Shown, Ended(Isolation.TCG, exit_code=3), note="x") == Shown("x", "tcg", 3)
    assert result_of(Shown, Ended(None, exit_code=3), note="x", exit_code=4) == Shown("x", None, 4)


def test_a_closed_set_is_shown_as_plain_text() -> None:
    assert type(result_of(Shown, Ended(Isolation.KVM), note="").isolation) is str


def test_a_command_that_timed_out_has_the_exit_code_of_timeout() -> None:
    assert result_of(Shown, Ended(None, exit_code=137, timed_out=True), note="").exit_code == 124


def test_a_field_that_nobody_has_is_an_error() -> None:
    with pytest.raises(AttributeError, match="note"):
        result_of(Shown, Ended(None))
