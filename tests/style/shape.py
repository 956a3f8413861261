"""Rules about the shape of modules: sizes, docstrings, names."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.style.source import Finding, Rule, Source, sample

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
FORBIDDEN_MODULES = {"util", "utils", "helper", "helpers", "manager", "misc", "common"}


def _long_modules(source: Source) -> Iterable[Finding]:
    if len(source.lines) > MAX_MODULE_LINES:
        yield Finding(source.path, 1, f"{len(source.lines)} lines; split it by noun or verb")


def _long_functions(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield Finding(source.path, node.lineno, f"{node.name} has {length} lines")


def _silent_modules(source: Source) -> Iterable[Finding]:
    if not ast.get_docstring(source.tree()):
        yield Finding(source.path, 1, "no module docstring")


def _formulaic_modules(source: Source) -> Iterable[Finding]:
    first = (ast.get_docstring(source.tree()) or "").partition("\n\n")[0]
    if not first.endswith(".") or re.match(r"(owns|refuses)\b", first, re.IGNORECASE):
        yield Finding(source.path, 1, "the module docstring does not begin with a sentence of its own")


def _vague_names(source: Source) -> Iterable[Finding]:
    stem = source.path.rpartition("/")[2].removesuffix(".py")
    if source.path.endswith("/__init__.py"):
        stem = source.path.split("/")[-2]
    if stem in FORBIDDEN_MODULES or re.search(r"_\d+$", stem):
        yield Finding(source.path, 1, f"the module name {stem} says nothing of what is in it")
    for node in source.nodes():
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helpers?|Utils?|_?\d)$", node.name):
            yield Finding(source.path, node.lineno, f"the class name {node.name} says nothing of what it is")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and re.search(r"_\d$", node.name):
            yield Finding(source.path, node.lineno, f"{node.name}: a number is not a name")


def _thawed_values(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            text = ast.unparse(decorator)
            if "dataclass" in text and not ("frozen=True" in text and "slots=True" in text):
                yield Finding(source.path, node.lineno, f"{node.name} is a value: frozen=True, slots=True")


def _wordless_tests(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name.startswith("test_")
            and node.name.count("_") < 3
        ):
            yield Finding(source.path, node.lineno, f"{node.name} is not a sentence")


def _is_module(source: Source) -> bool:
    # Files under data/ are shipped into images and run there; they are not modules of the product.
    return source.is_product and "/data/" not in source.path


RULES = (
    Rule(
        "a module stays within 500 lines",
        lambda source: source.is_python,
        _long_modules,
        bad=(sample("src/pyro_mcp/a.py", "x = 1\n" * (MAX_MODULE_LINES + 1)),),
        good=(sample("src/pyro_mcp/a.py", "x = 1\n" * MAX_MODULE_LINES),),
    ),
    Rule(
        "a function stays within 60 lines",
        lambda source: source.is_python,
        _long_functions,
        bad=(
            sample("src/pyro_mcp/a.py", "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
            sample("tests/test_a.py", "class A:\n  async def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
        ),
        good=(sample("src/pyro_mcp/a.py", "def f():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)),),
    ),
    Rule(
        "every module has a docstring",
        lambda source: source.is_python,
        _silent_modules,
        bad=(sample("tests/test_a.py", "x = 1\n"),),
        good=(sample("tests/test_a.py", '"""Say it."""\n'),),
    ),
    Rule(
        "a product module's docstring begins with a sentence that says what the module is for",
        _is_module,
        _formulaic_modules,
        bad=(
            sample("src/pyro_mcp/a.py", '"""Owns all."""\n'),
            sample("src/pyro_mcp/a.py", '"""Places a patch"""\n'),
        ),
        good=(sample("src/pyro_mcp/a.py", '"""Place a patch.\n\nIt never guesses.\n"""\n'),),
    ),
    Rule(
        "names say what a thing is",
        lambda source: source.is_python,
        _vague_names,
        bad=(
            sample("src/pyro_mcp/utils.py", ""),
            sample("src/pyro_mcp/helpers/__init__.py", ""),
            sample("src/pyro_mcp/disk_2.py", ""),
            sample("src/pyro_mcp/a.py", "class VmManager: pass\n"),
            sample("src/pyro_mcp/a.py", "def start_2(): pass\n"),
        ),
        good=(sample("src/pyro_mcp/host/disk.py", "class Disk: pass\ndef start(): pass\n"),),
    ),
    Rule(
        "values of the model are frozen",
        lambda source: source.path.startswith("src/pyro_mcp/model/"),
        _thawed_values,
        bad=(
            sample("src/pyro_mcp/model/a.py", "@dataclass\nclass A: pass\n"),
            sample("src/pyro_mcp/model/a.py", "@dataclass(frozen=True)\nclass A: pass\n"),
        ),
        good=(sample("src/pyro_mcp/model/a.py", "@dataclass(frozen=True, slots=True)\nclass A: pass\n"),),
    ),
    Rule(
        "a test's name is a sentence",
        lambda source: source.is_test,
        _wordless_tests,
        bad=(sample("tests/unit/test_a.py", "def test_lock_works(): pass\n"),),
        good=(sample("tests/unit/test_a.py", "def test_a_lock_is_held_once(): pass\n"),),
    ),
)
