"""Compile Python sources for the guest. Run by the toolbox's own interpreter, so that the byte code matches it.

Usage: compile.py SOURCE TARGET SHOWN LEVEL [NAME...]

Each NAME.py below SOURCE (default: all) becomes TARGET/NAME.pyc, which is valid without its source, and whose
tracebacks show SHOWN/NAME.py. LEVEL is the optimisation level. Prints the modules that the sources import, except under
TYPE_CHECKING, one per line.
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER

# Flags: hash-based (bit 0), without checking the source (bit 1 not set); then the unused hash.
HEADER = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)


def main(source: str, target: str, shown: str, level: str, names: list[str]) -> None:
    """Compile the sources and print what they import."""
    imported: set[str] = set()
    for name in names or find_sources(source):
        path = f"{source}/{name}.py"
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
        imported |= imports_of(tree)
        code = compile(tree, f"{shown}/{name}.py", "exec", dont_inherit=True, optimize=int(level))
        output = f"{target}/{name}.pyc"
        os.makedirs(os.path.dirname(output), exist_ok=True)
        with open(output, "wb") as file:
            file.write(HEADER + marshal.dumps(code))
    print("\n".join(sorted(imported)))  # noqa: T201 - its output is its result


def find_sources(source: str) -> list[str]:
    """Return the names of all sources below `source`, without their suffix."""
    found = [
        os.path.relpath(os.path.join(directory, file), source).removesuffix(".py")
        for directory, _, files in os.walk(source)
        for file in files
        if file.endswith(".py")
    ]
    return sorted(found)


def imports_of(tree: ast.AST) -> set[str]:
    """Return the absolute names that a source imports; `from a import b` may mean a module a.b, so both."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}?" for alias in node.names)}
        pending += ast.iter_child_nodes(node)
    return found


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    except SyntaxError as error:
        sys.exit(f"{error.filename}, line {error.lineno}: {error.msg}")
