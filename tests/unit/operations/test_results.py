"""Results made from the values that they show."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass, field

import pytest

from pyro_mcp.model.command import Captured
from pyro_mcp.model.kinds import Isolation
from pyro_mcp.operations.fields import said
from pyro_mcp.operations.operation import Result, result_of


class Shown(Result):
    """A result with a field of its own."""

    note: str = said("A note.")
    isolation: str | None = said("Its isolation.")
    exit_code: int | None = said("Its exit status.")


class Part(Result):
    """A result that stands in another."""

    name: str = said("Its name.")
    done_at: str | None = said("When it was done.")


class Whole(Result):
    """A result that holds others."""

    command: str = said("The command.")
    part: Part | None = said("A part.")
    parts: list[Part] = said("Several.")
    labels: dict[str, str] = said("Labels.")


@dataclass(frozen=True)
class Piece:
    """A value to make a part from."""

    name: str
    done_at: float | None = None


WHOLE = Whole("true", Part("a", None), [Part("b", "now")], {"k": "v"})
DOCUMENT = {
    "command": "true",
    "part": {"name": "a", "done_at": None},
    "parts": [{"name": "b", "done_at": "now"}],
    "labels": {"k": "v"},
}


@dataclass(frozen=True, slots=True)
class Ended(Captured):
    """A command's end with more than is shown of it."""

    isolation: Isolation | None
    secret: str = field(default="never shown", kw_only=True)


def test_fields_come_from_the_value_unless_they_are_given() -> None:
    assert result_of(Shown, Ended(Isolation.TCG, exit_code=3), note="x") == Shown("x", "tcg", 3)
    assert result_of(Shown, Ended(None, exit_code=3), note="x", exit_code=4) == Shown("x", None, 4)


def test_a_closed_set_is_shown_as_plain_text() -> None:
    assert type(result_of(Shown, Ended(Isolation.KVM, exit_code=0), note="").isolation) is str


def test_a_command_that_timed_out_has_the_exit_code_of_timeout() -> None:
    assert result_of(Shown, Ended(None, exit_code=137, timed_out=True), note="").exit_code == 124


def test_a_field_that_nobody_has_is_an_error() -> None:
    with pytest.raises(AttributeError, match="note"):
        result_of(Shown, Ended(None))


def test_a_result_is_a_mapping_and_an_object() -> None:
    assert WHOLE == DOCUMENT
    assert WHOLE.part is WHOLE["part"]
    assert WHOLE.parts[0].name == WHOLE["parts"][0]["name"] == "b"
    assert list(WHOLE) == ["command", "part", "parts", "labels"]
    assert "part" in WHOLE
    assert WHOLE.get("nothing") is None
    assert json.loads(json.dumps(WHOLE)) == dict(WHOLE) == DOCUMENT
    assert copy.deepcopy(WHOLE) == pickle.loads(pickle.dumps(WHOLE)) == WHOLE
    assert type(copy.copy(WHOLE)) is Whole


def test_a_result_is_shown_in_short() -> None:
    assert repr(Shown("x" * 1000, None, 3)).startswith("Shown(note='xxxx")
    assert repr(Shown("x" * 1000, None, 3)).endswith("xx', isolation=None, exit_code=3)")
    assert len(repr(Shown("x" * 1000, None, 3))) < 120


def test_a_result_has_its_fields_and_no_others() -> None:
    with pytest.raises(AttributeError, match="Part has no field 'size'"):
        WHOLE.parts[0].size  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(AttributeError, match="can't be assigned"):
        WHOLE.parts[0].name = "c"  # type: ignore[misc]
    with pytest.raises(TypeError, match="Part has no field size"):
        Part("a", None, size=1)  # type: ignore[call-arg]
    with pytest.raises(KeyError, match="done_at"):
        Part("a")  # type: ignore[call-arg]


def test_values_in_a_value_become_results() -> None:
    @dataclass(frozen=True)
    class Value:
        command: tuple[str, ...]
        part: Piece
        parts: tuple[object, ...]

    made = result_of(Whole, Value(("echo", "a b"), Piece("p", 0.0), (Piece("q"), ("r", None))), labels={})
    assert made == {
        "command": "echo 'a b'",
        "part": {"name": "p", "done_at": "1970-01-01T00:00:00.000Z"},
        "parts": [{"name": "q", "done_at": None}, {"name": "r", "done_at": None}],
        "labels": {},
    }
    assert type(made.parts[0]) is Part
    assert result_of(Whole, Value((), Piece("p"), ()), part=None, labels={}).part is None
