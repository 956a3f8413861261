"""Edits of foreign configuration: our member or table comes and goes, every other byte stays."""

from __future__ import annotations

import json
import tomllib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.hosts.jsonc import parse, remove_member, set_member
from pyro_mcp.hosts.toml import remove_table, set_table

PATH = ("mcp", "pyro")
ENTRY = {"type": "local", "command": ["/opt/pyro", "mcp", "serve"], "enabled": True}
TABLE = ("mcp_servers", "pyro")
VALUES: dict[str, object] = {"command": "/opt/pyro", "args": ["mcp", "serve"], "startup_timeout_sec": 60}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
BLANKS = st.sampled_from(["", " ", "\n", "\n  ", "\t", " // note\n", " /* a, {b} */ ", '\n// "pyro": 1\n    '])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Give an object with an `mcp` object in it, with blanks, comments and trailing commas anywhere."""

    def spelled(value: object) -> str:
        if isinstance(value, dict):
            members = [
                f"{draw(BLANKS)}{json.dumps(name)}{draw(BLANKS)}:{draw(BLANKS)}{spelled(each)}"
                for name, each in cast("dict[str, object]", value).items()
            ]
            return "{" + ",".join(members) + ("," if members and draw(st.booleans()) else "") + draw(BLANKS) + "}"
        if isinstance(value, list):
            return (
                "["
                + ",".join(f"{draw(BLANKS)}{spelled(each)}{draw(BLANKS)}" for each in cast("list[object]", value))
                + "]"
            )
        return json.dumps(value)

    others = draw(st.dictionaries(st.text(max_size=6).filter(lambda name: name != "mcp"), JSON, max_size=3))
    servers = draw(st.dictionaries(st.text(max_size=6).filter(lambda name: name != "pyro"), JSON, max_size=3))
    items = [*others.items(), ("mcp", servers)]
    return draw(BLANKS) + spelled(dict(draw(st.permutations(items)))) + draw(BLANKS)


@given(documents())
def test_a_member_comes_and_goes_and_all_else_stays(text: str) -> None:
    before: Any = parse(text).value
    connected = set_member(text, PATH, ENTRY)
    now: Any = parse(connected).value
    assert now["mcp"].pop("pyro") == ENTRY
    assert now == before
    assert set_member(connected, PATH, ENTRY) == connected
    # Every byte of the old text is still there, in its order.
    rest = iter(connected)
    assert all(character in rest for character in text if not character.isspace())
    assert parse(remove_member(connected, PATH)).value == before


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "mcp": {\n    "other": {} // kept\n  }\n}\n',
        '{\n  // first\n  "mcp": {\n    "other": {},\n  },\n}\n',
        '{\n\t"mcp": {\n\t\t"other": {"a": [1, 2]}\n\t}\n}',
    ],
)
def test_removing_gives_the_old_text_again(text: str) -> None:
    assert remove_member(set_member(text, PATH, ENTRY), PATH) == text


def test_an_entry_that_differs_is_replaced_in_its_place() -> None:
    text = '{"mcp": {"pyro": {"command": []}, "z": 1}} // end\n'
    assert json.loads(set_member(text, PATH, {"a": 1}).partition(" //")[0]) == {"mcp": {"pyro": {"a": 1}, "z": 1}}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1', "line 1, column 8: expected , or }"),
        ('{\n  "a" 1}', "line 2, column 7: expected :"),
        ('{"a": 01}', "line 1, column 8: expected , or }"),
        ("{} x", "line 1, column 4: expected the end of the file"),
        ('{"mcp": []}', "line 1, column 9: mcp is not an object"),
        ("[" * 300, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_reported_by_place(text: str, where: str) -> None:
    with pytest.raises(PyroError, match=where.replace("|", r"\|").replace("}", r"\}")) as caught:
        set_member(text, PATH, ENTRY)
    assert caught.value.code is ErrorCode.INVALID


NAMES = st.text("abcz_-", min_size=1, max_size=5).filter(lambda name: name != "pyro")
SCALARS = st.booleans() | st.integers(-(2**60), 2**60) | st.text("abc \u00e9#[]=\"'", max_size=8)


@st.composite
def toml_documents(draw: st.DrawFn) -> str:
    """Give keys, tables and other servers, with comments and empty lines between."""
    lines: list[str] = []

    def pairs(values: dict[str, Any]) -> None:
        for name, value in values.items():
            lines.append(f"{name} = {json.dumps(value)}{draw(st.sampled_from(['', '  # why', ' #[x]']))}")
            lines.extend(draw(st.lists(st.sampled_from(["", "# [mcp_servers.pyro]"]), max_size=2)))

    pairs(draw(st.dictionaries(NAMES.map(lambda name: f"k{name}"), SCALARS, max_size=3)))
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        lines.append(f"[mcp_servers.{name}]")
        pairs(draw(st.dictionaries(NAMES, SCALARS, max_size=3)))
    for name in draw(st.lists(NAMES, unique=True, max_size=2)):
        lines.append(f"[t{name}]")
        pairs(draw(st.dictionaries(NAMES, SCALARS, max_size=2)))
    return "".join(f"{line}\n" for line in lines)


@given(toml_documents())
def test_a_table_comes_and_goes_and_every_byte_stays(text: str) -> None:
    connected = set_table(text, TABLE, VALUES)
    assert connected.startswith(text)
    now = tomllib.loads(connected)
    assert now["mcp_servers"]["pyro"] == VALUES
    assert set_table(connected, TABLE, VALUES) == connected
    assert remove_table(connected, TABLE) == text


@pytest.mark.parametrize(
    "text", ['mcp_servers = { a = { command = "b" } } # c\n', 'mcp_servers.a.command = "b"\n', "[mcp_servers]\n"]
)
def test_other_spellings_of_the_parent_table_work_too(text: str) -> None:
    connected = set_table(text, TABLE, VALUES)
    now = tomllib.loads(connected)
    assert now["mcp_servers"].pop("pyro") == VALUES
    assert now == tomllib.loads(text)
    assert tomllib.loads(remove_table(connected, TABLE)) == tomllib.loads(text)


def test_keys_of_our_table_that_a_person_added_stay() -> None:
    ours = '[mcp_servers.pyro]\ncommand = "old" # mine\nenabled_tools = ["workspace_exec"]\n'
    text = f'{ours}\n[mcp_servers.pyro.env]\nA = "1"\n'
    now = tomllib.loads(set_table(text, TABLE, VALUES))["mcp_servers"]["pyro"]
    assert now == {**VALUES, "enabled_tools": ["workspace_exec"], "env": {"A": "1"}}
    assert "# mine" in set_table(text, TABLE, VALUES)


def test_what_is_no_toml_is_reported_by_place() -> None:
    with pytest.raises(PyroError, match="line 2, column 5"):
        set_table("a = 1\nb = \n", TABLE, VALUES)
