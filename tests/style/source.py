"""The repository's files as the style rules see them."""

from __future__ import annotations

import ast
import gc
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """One file: where it stands below the repository's root, and what is in it."""

    path: str
    data: bytes
    lines: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(self.data.decode("utf-8", "replace").splitlines()))

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_product(self) -> bool:
        return self.is_python and self.path.startswith("src/pyro_mcp/")

    @property
    def is_guest(self) -> bool:
        return self.path.startswith("src/pyro_mcp/guest/")

    @property
    def is_test(self) -> bool:
        return self.path.startswith("tests/") and self.is_python

    @property
    def module(self) -> str:
        """Return the path below the package, such as `host/process/run.py`."""
        return self.path.removeprefix("src/pyro_mcp/")

    def tree(self) -> ast.Module:
        return _parse(self.data)

    def nodes(self) -> tuple[ast.AST, ...]:
        """Return every node of the tree, as ast.walk() does."""
        return _nodes(self.data)


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, with one file that breaks it and one, as close as can be, that does not."""

    name: str
    applies: Callable[[Source], bool]
    breaches: Callable[[Source], Iterable[Finding]]
    bad: tuple[Source, ...]
    good: tuple[Source, ...]

    def check(self, source: Source) -> list[Finding]:
        return list(self.breaches(source)) if self.applies(source) else []


def sample(path: str, text: str) -> Source:
    return Source(path, text.encode())


@cache
def repository() -> tuple[Source, ...]:
    """Return every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    paths = sorted({name.decode() for name in listed.split(b"\0") if name})
    return tuple(Source(path, (ROOT / path).read_bytes()) for path in paths if (ROOT / path).is_file())


def called_name(node: ast.expr) -> str:
    """Return the dotted name of what is called, such as `os.kill`, or "" where it is not a name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            owner = called_name(value)
            return f"{owner}.{attr}" if owner else ""
        case _:
            return ""


def imports(source: Source) -> Iterable[tuple[int, str]]:
    """Yield each absolute import as its line and `module` or `module.name`."""
    for node in source.nodes():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def uses(source: Source) -> Iterable[tuple[int, str]]:
    """Yield each dotted name that is read or imported, with its line."""
    yield from imports(source)
    for node in source.nodes():
        if isinstance(node, ast.Attribute) and (name := called_name(node)):
            yield node.lineno, name


@cache
def _nodes(data: bytes) -> tuple[ast.AST, ...]:
    # Looking for garbage among a million nodes, all kept, takes longer than parsing.
    gc.disable()
    try:
        return tuple(ast.walk(_parse(data)))
    finally:
        gc.enable()


@cache
def _parse(data: bytes) -> ast.Module:
    return ast.parse(data)
