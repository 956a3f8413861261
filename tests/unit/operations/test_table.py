"""The table: every row is whole, and found under each of its names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from pyro_mcp.image.catalog import load_catalog
from pyro_mcp.operations.fields import Kind, Place, parameters
from pyro_mcp.operations.operation import Effect, Operation, Result
from pyro_mcp.operations.parameters import ENVIRONMENT
from pyro_mcp.operations.table import (
    FAMILIES,
    GROUPS,
    SUMMARIES,
    all_operations,
    family,
    find_command,
    find_tools,
)

ROWS = all_operations()


def named(row: Operation[Any, Any]) -> str:
    return row.name


def test_names_commands_tools_and_methods_are_each_used_once() -> None:
    for names in (
        [row.name for row in ROWS],
        [row.cli for row in ROWS if row.cli],
        [row.mcp for row in ROWS if row.mcp],
        [row.sdk for row in ROWS],
    ):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_is_found_by_its_words(row: Operation[Any, Any]) -> None:
    assert row.cli is not None
    assert find_command([*row.cli, "--json"]) is row
    if len(row.cli) > 1:
        assert all(" ".join(row.cli[:count]) in GROUPS for count in range(1, len(row.cli)))
        assert find_command(row.cli[:1]) is None


@pytest.mark.parametrize("row", [row for row in ROWS if row.mcp], ids=named)
def test_a_row_is_found_by_its_tool(row: Operation[Any, Any]) -> None:
    assert find_tools([str(row.mcp)]) == (row,)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_commands_that_the_table_lists(name: str) -> None:
    assert [" ".join(row.cli or ()) for row in family(name)] == list(FAMILIES[name])


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_every_field_of_a_request_is_described_and_bounded(row: Operation[Any, Any]) -> None:
    hints = get_type_hints(row.request)
    for parameter in parameters(row.request):
        assert parameter.description.endswith("."), parameter
        assert parameter.kind in Kind
        assert hints[parameter.name] is not None
        if parameter.kind.is_whole:
            assert parameter.minimum is not None
            assert parameter.maximum is not None
        if parameter.place is not Place.OPTION:
            assert parameter.names


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_every_field_of_a_result_is_described(row: Operation[Any, Any]) -> None:
    def described(result: type) -> None:
        for field in fields(result):
            assert field.metadata["description"].endswith("."), field.name
            kind = get_type_hints(result)[field.name]
            if isinstance(kind, type) and is_dataclass(kind):
                described(kind)

    assert issubclass(row.result, Result)
    described(row.result)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_says_enough_and_not_too_much(row: Operation[Any, Any]) -> None:
    summary = SUMMARIES[" ".join(row.cli or ())]
    assert summary.endswith(".")
    assert len(summary) < 80
    assert len(row.description + row.tool_description) < 2000
    assert all(part.isascii() for part in (summary, row.title))


def test_annotations_follow_the_effect() -> None:
    hints = {row.name: row.annotations for row in ROWS}
    assert hints["vm_status"]["readOnlyHint"] is True
    assert hints["vm_delete"]["destructiveHint"] is True
    assert hints["vm_run"]["openWorldHint"] is True
    for row in ROWS:
        assert set(row.annotations) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert not (row.annotations["readOnlyHint"] and row.annotations["destructiveHint"])
        assert (row.effect is Effect.READ) is row.annotations["readOnlyHint"]


def test_the_environments_that_a_description_names_are_in_the_catalog() -> None:
    known = {environment.name for environment in load_catalog().environments}
    named_there = set(re.findall(r"debian:[0-9a-z-]+", str(ENVIRONMENT["description"])))
    assert named_there
    assert named_there <= known


@pytest.mark.parametrize(
    ("words", "loaded"),
    [
        (["run"], {"run"}),
        (["env", "list"], {"environments"}),
        (["workspace", "list"], {"workspaces.lifecycle"}),
        (["workspace", "exec"], {"workspaces.commands"}),
        (["workspace", "nothing"], set[str]()),
    ],
    ids=" ".join,
)
def test_finding_a_command_loads_its_family_alone(words: list[str], loaded: set[str]) -> None:
    code = (
        "import json, sys; from pyro_mcp.operations.table import FAMILIES, find_command;"
        f" find_command({words!r}); print(json.dumps([name for name in FAMILIES"
        " if f'pyro_mcp.operations.{name}' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=20)
    assert set(json.loads(done.stdout)) == loaded
