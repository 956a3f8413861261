"""What the documentation shows exists: commands, options, methods, tools, files."""

from __future__ import annotations

import ast
import inspect
import json
import os
import platform
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import pyro_mcp
from pyro_mcp.cli.builtins.table import BUILTINS
from pyro_mcp.cli.commands import SUMMARIES, expanded
from pyro_mcp.cli.execution import shape_of
from pyro_mcp.cli.parsing import make_parser, parse
from pyro_mcp.cli.shape import Shape
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.operations.fields import parameters
from pyro_mcp.operations.table import all_operations, begins, find_command
from scripts import record
from tests.style.source import ROOT
from tests.support.documents import LANGUAGES, SHELL, Block, blocks, pages

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
INLINE = re.compile(r"`pyro ([a-z-][^`]*)`")
# Of the programs that pyro calls, or the kernel.
INCLUDED = re.compile(r"`((?!make |No space)[^`]+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
TOOLS = {row.mcp: {each.name for each in parameters(row.request, "mcp")} for row in all_operations() if row.mcp}
# Of the protocol: not a command.
NO_COMMAND = {"lane hello"}
ID = "a" * 20
# bash, without any program: `pyro` records how it was called, everything else does nothing. Each call ends in NUL NUL.
RECORDER = """
PATH=/nonexistent
pyro() {
  printf '%s\\0' "$@" >>"$CALLS"; printf '\\1\\0' >>"$CALLS"
  case $* in *"shell open"*) echo sh_aaaaaaaaaaaaaaaaaaaa ;; *) echo ws_aaaaaaaaaaaaaaaaaaaa ;; esac
}
.venv/bin/pyro() { pyro "$@"; }
command_not_found_handle() {
  case $1 in sudo | env | nice | timeout | uvx) while [ $# -gt 0 ] && [ "$1" != pyro ]; do shift; done; "$@" ;; esac
}
"""


def ids(found: list[Block]) -> list[str]:
    return [block.where for block in found]


def shape(words: list[str]) -> Shape | None:
    """Return the shape of the command that these words begin with."""
    operation = find_command(words)
    if operation is not None and operation.cli is not None:
        return shape_of(operation)
    return next((each.shape for each in BUILTINS if begins(words, each.shape.path)), None)


def options(of: Shape) -> set[str]:
    return {option for action in make_parser(of)._actions for option in action.option_strings}


def calls(block: Block, directory: Path) -> Iterator[list[str]]:
    """Yield the arguments of each call of `pyro` in a block of commands."""
    record = directory / "calls"
    record.touch()
    text = "\n".join(command.line for command in block.commands).replace("…", ID)
    environment = {"CALLS": str(record), "HOME": str(directory)}
    process.run(["/bin/bash", "-c", RECORDER + text], cwd=directory, env=environment, timeout_s=30, check=False)
    call: list[str] = []
    for word in record.read_text().split("\0")[:-1]:
        if word == "\1":
            yield call
            call = []
        else:
            call.append(word)


def assert_is_a_command(words: list[str]) -> None:
    words = expanded(words)
    if words[0] in {"--version", "--help"}:
        return
    found = shape(words)
    assert found is not None, words
    arguments = words[len(found.words) :]
    if "--help" in arguments:
        return
    try:
        parse(found, arguments)
    except UsageError:
        raise
    except PyroError:
        # A file that the page makes.
        pass


def test_there_are_blocks_of_each_kind() -> None:
    assert {"console", "sh", "usage", "mcp", "python", "json"} <= {block.language for block in BLOCKS}
    assert len(BLOCKS) > 50


@pytest.mark.parametrize("block", BLOCKS, ids=ids(BLOCKS))
def test_a_block_says_what_is_in_it(block: Block) -> None:
    assert block.language in LANGUAGES
    if block.language == "console":
        assert block.text.startswith("$ ")
    if block.language not in SHELL | {"usage", "python"}:
        assert not re.search(r"^(\$ )?(sudo )?(\S*/)?pyro ", block.text, re.MULTILINE)
    assert block.language in SHELL or not block.not_run


SHELLS = [block for block in BLOCKS if block.language in SHELL]


@pytest.mark.parametrize("block", SHELLS, ids=ids(SHELLS))
def test_a_command_is_understood(block: Block, tmp_path: Path) -> None:
    found = list(calls(block, tmp_path))
    lines = "\n".join(command.line for command in block.commands)
    assert len(found) >= len(re.findall(r"^(\S*/)?pyro ", lines, re.MULTILINE))
    for words in found:
        assert_is_a_command(words)


def usages() -> Iterator[tuple[str, str]]:
    """Yield each form of a command: blocks of them, and those in the text."""
    for block in BLOCKS:
        if block.language == "usage":
            joined = re.sub(r"\n\s+", " ", block.text)
            yield from ((block.where, line.removeprefix("pyro ")) for line in joined.splitlines())
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from ((str(page.relative_to(ROOT)), found) for found in INLINE.findall(text) if found not in NO_COMMAND)


USAGES = sorted(set(usages()))


@pytest.mark.parametrize(("page", "text"), USAGES, ids=[f"{page}:{text}" for page, text in USAGES])
def test_a_form_of_a_command_names_what_exists(page: str, text: str) -> None:
    words = expanded(re.split(r" #| \$\(", text)[0].replace("…", " ").split())
    if words[0] in {"--version", "--help", "COMMAND"}:
        return
    found = shape(words)
    if found is None:
        # Of several commands, what they have in common.
        group = " ".join(word for word in words if re.fullmatch(r"[a-z-]+", word))
        assert any(begins(each.split(), group) for each in SUMMARIES), text
        return
    given = " ".join(words).split(" -- ")[0]
    assert set(OPTION.findall(given)) <= options(found) | {"-it"}


PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=ids(PYTHON))
def test_python_names_what_the_sdk_has(block: Block) -> None:
    compile(block.text, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(block.text)):
        match node:
            case ast.ImportFrom(module="pyro_mcp"):
                assert all(hasattr(pyro_mcp, each.name) for each in node.names)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="pyro"), attr=method)):
                taken = inspect.signature(getattr(pyro_mcp.Pyro, method)).parameters
                if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
                    assert {each.arg for each in node.keywords if each.arg} <= set(taken), method
            case _:
                pass


CALLED = [block for block in BLOCKS if block.language == "mcp"]


@pytest.mark.parametrize("block", CALLED, ids=ids(CALLED))
def test_a_call_of_a_tool_has_arguments_that_it_takes(block: Block) -> None:
    for line in block.text.splitlines():
        tool, _, arguments = line.partition(" ")
        assert set(json.loads(arguments)) <= TOOLS[tool], line


DATA = [block for block in BLOCKS if block.language in {"json", "toml"}]


@pytest.mark.parametrize("block", DATA, ids=ids(DATA))
def test_a_document_parses(block: Block) -> None:
    (json if block.language == "json" else tomllib).loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_index_has_every_page() -> None:
    index = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {Path(os.path.basename(link)) for link in LINK.findall(index)}
    assert {Path(page.name) for page in PAGES if "docs" in page.parts} <= linked | {Path("README.md")}


def test_the_errors_that_troubleshooting_quotes_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    # Texts that stand on several lines, and values in them.
    source = re.sub(r'"\s*f?"', "", source)
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        text for line in page.splitlines() if line.startswith("| ") for text in INCLUDED.findall(line.split("|")[1])
    ]
    assert len(quoted) > 20
    for text in quoted:
        assert all(piece.strip() in source for piece in text.split("…")), text


def test_the_recording_is_of_this_project_and_shows_nothing_of_the_machine_it_was_made_on() -> None:
    cast, svg = record.CAST.read_text(encoding="utf-8"), record.SVG.read_text(encoding="utf-8")
    assert record.drawn(cast) == svg
    ET.fromstring(svg)
    assert len(svg) < 100_000
    written = "".join(json.loads(line)[2] for line in cast.splitlines()[1:])
    for command in record.COMMANDS:
        assert command in written
        assert_is_a_command(shlex.split(command, comments=True)[1:])
    assert not re.search(r"/(root|home|tmp|srv|work)/", written)
    assert platform.node() not in written
