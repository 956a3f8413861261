"""Every hint names commands that exist, and each surface reads it in its own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from pyro_mcp.cli.commands import BUILTINS
from pyro_mcp.operations.hints import Surface, adapted
from pyro_mcp.operations.table import all_operations, begins, find_command
from tests.style.source import ROOT

SOURCE = ROOT / "src" / "pyro_mcp"
# Surfaces' own words; what the guest runs; and machine checks, whose fixes are commands for a person's terminal.
ELSEWHERE = ("cli/", "mcp_server/", "sdk/", "guest/", "operations/profiles.py", "host/programs.py")
FIXES = ("operations/doctor.py", "operations/preparation.py", "host/doctor.py")
COMMAND = re.compile(r"\bpyro (?:[a-z]+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
QUOTED = re.compile(r"`[^`]*`")
TOOLS = {row.mcp for row in all_operations() if row.mcp}
METHODS = {row.sdk for row in all_operations()} - {"demo", "doctor", "prepare"}
# Where a keyword or a name holds text that is shown as a hint.
HINTS = {"hint", "form", "remedy"}


def text_of(node: ast.expr) -> str:
    """Return the text of a constant or a formatted string, x for each value in it."""
    match node:
        case ast.Constant(value=str()):
            return str(node.value)
        case ast.JoinedStr():
            return "".join(text_of(each) for each in node.values)
        case ast.FormattedValue():
            return "x"
        case ast.BinOp(op=ast.Add()):
            return text_of(node.left) + text_of(node.right)
        case _:
            return ""


def hints() -> Iterator[tuple[str, str]]:
    """Yield each hint of the core, and where it stands."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name.startswith((*ELSEWHERE, *FIXES)):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        pieces = {piece for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
        for node in ast.walk(tree):
            match node:
                case ast.keyword(arg=str(arg), value=value) if arg in HINTS:
                    yield f"{name}:{value.lineno}", text_of(value)
                case ast.Assign(targets=[ast.Name(id=constant)], value=value) if "HINT" in constant.upper():
                    yield f"{name}:{value.lineno}", text_of(value)
                case ast.Constant(value=str()) | ast.JoinedStr() if node not in pieces:
                    text = text_of(node)
                    yield f"{name}:{node.lineno}", text if "`pyro " in text and "\n" not in text else ""
                case _:
                    pass


ALL = sorted({(where, text) for where, text in hints() if text})


def test_hints_are_found() -> None:
    assert len(ALL) > 150
    assert sum("`pyro " in text for _, text in ALL) > 20


@pytest.mark.parametrize(("where", "text"), ALL, ids=[where for where, _ in ALL])
def test_a_hint_names_what_exists_and_every_surface_reads_its_own_names(where: str, text: str) -> None:
    unquoted = QUOTED.sub("", text)
    assert not COMMAND.search(unquoted), where
    assert not OPTION.search(unquoted), where
    assert not {word.strip(".,:;()") for word in text.split()} & (TOOLS | METHODS), where
    for quoted in QUOTED.findall(text):
        words = quoted.strip("`").split()
        if words[:1] != ["pyro"]:
            continue
        operation = find_command(words[1:])
        assert operation is not None or any(begins(words[1:], each) for each in BUILTINS), quoted
        tool, method = adapted(quoted, Surface.MCP), adapted(quoted, Surface.SDK)
        if operation is not None:
            assert method.startswith(f"`{operation.sdk}")
            assert tool.startswith(f"`{operation.mcp or 'pyro '}")


@pytest.mark.parametrize(
    ("hint", "tool", "method"),
    [
        ("`pyro workspace list` lists them.", "`workspace_list` lists them.", "`list_workspaces()` lists them."),
        ("Use `pyro workspace reset`.", "Use `workspace_reset`.", "Use `reset_workspace`."),
        (
            "`pyro workspace logs ws_1 --sequence 3` shows all of it.",
            "`workspace_logs` with `workspace_id=ws_1, sequence=3` shows all of it.",
            "`logs_workspace('ws_1', sequence=3)` shows all of it.",
        ),
        ("`pyro workspace logs ID --sequence N`", "`workspace_logs` with `sequence`", "`logs_workspace(sequence)`"),
        ("Give `--ttl-seconds 60`.", "Give `ttl_seconds=60`.", "Give `ttl_seconds=60`."),
        ("A longer `--ttl` helps.", "A longer `ttl_seconds` helps.", "A longer `ttl_seconds` helps."),
        ("`--allow-host-compat` does.", "`allow_host_compat=true` does.", "`allow_host_compat=True` does."),
        ("Run `pyro env pull debian:12`.", "Run `pyro env pull debian:12`.", "Run `pull_environment('debian:12')`."),
        ("`pyro mcp serve --allow-path /x`", "`pyro mcp serve --allow-path /x`", "`pyro mcp serve --allow-path /x`"),
        (
            "`pyro workspace network allow ws_1 a.example b.example`",
            "`workspace_network_allow` with `workspace_id=ws_1, hosts=['a.example', 'b.example']`",
            "`allow_workspace_hosts('ws_1', ['a.example', 'b.example'])`",
        ),
        (
            "`--allow-host a.example --allow-host b.example`",
            "`allow_hosts=['a.example', 'b.example']`",
            "`allow_hosts=['a.example', 'b.example']`",
        ),
        ("`pyro workspace network allow ID HOST`", "`workspace_network_allow`", "`allow_workspace_hosts`"),
        ("`--allow-host HOST`", "`allow_hosts`", "`allow_hosts`"),
        ("`--include-host-hooks`", "`--include-host-hooks`", "`include_host_hooks=True`"),
        ("`--unknown` and `ls -l` stay", "`--unknown` and `ls -l` stay", "`--unknown` and `ls -l` stay"),
        ("an odd `pyro run 'x` stays", "an odd `pyro run 'x` stays", "an odd `pyro run 'x` stays"),
    ],
)
def test_commands_and_options_get_the_names_of_the_surface(hint: str, tool: str, method: str) -> None:
    assert adapted(hint, Surface.MCP) == tool
    assert adapted(hint, Surface.SDK) == method
