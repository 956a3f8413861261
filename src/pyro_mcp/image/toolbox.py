"""The toolbox: the private Python that runs the agent in a guest, and compiles code for it.

The host's Python is not used: code for the guest is compiled by the toolbox's own interpreter, started through its own
loader.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process

LOADER = "ld-linux-x86-64.so.2"
_DATA = Path(__file__).with_name("data")
_TIMEOUT_S = 120.0
# Debian's library directories, of which some may be symbolic links to others.
_LIBRARY_DIRS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
# A fixed hash seed, so that compiled code is reproducible.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
_ISOLATED = ("-S", "-s", "-P", "-B")
_STDLIB_LEVEL = 2


@dataclass(frozen=True, slots=True)
class StdlibRules:
    """Which modules of the standard library are included (package data)."""

    always: tuple[str, ...]
    blocked: tuple[str, ...]
    dropped: tuple[str, ...]
    dropped_extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """A toolbox on this host.

    `root` has bin/python3, lib/ (shared libraries and the loader) and lib/VERSION/ (the compiled standard library).
    """

    root: Path
    version: str

    @property
    def stdlib(self) -> Path:
        """Return the directory of the standard library."""
        return self.root / "lib" / self.version

    def run(self, script: str, arguments: Sequence[str | Path]) -> list[str]:
        """Run a script of the package data with the toolbox's interpreter and return its lines of output."""
        libraries = self.root / "lib"
        # Given this path, Python finds its library relative to itself rather than to the loader.
        start = (libraries / LOADER, "--library-path", libraries, self.root / "bin/python3")
        # Not in isolated mode, which would ignore PYTHONHASHSEED; PYTHONHOME overrides the user's own.
        done = process.run(
            [*start, *_ISOLATED, _DATA / script, *arguments],
            timeout_s=_TIMEOUT_S,
            env={**_ENVIRONMENT, "PYTHONHOME": str(self.root)},
        )
        return done.text.splitlines()

    def compile(self, source: Path, target: Path, *, shown: str, level: int = 0) -> set[str]:
        """Compile all sources below `source` into `target` and return the modules that they import."""
        lines = self.run("compile.py", [source, target, shown, str(level)])
        return {line for line in lines if line}

    def closure(self, rules: StdlibRules, names: Iterable[str]) -> list[str]:
        """Return the files of the standard library, as relative paths, that are needed to import `names`.

        Raises:
            PyroError: NOT_FOUND for a name that is not in the toolbox.
        """
        roots = sorted({*rules.always, *names})
        lines = self.run("closure.py", [",".join(rules.blocked), *roots])
        missing = [line.removeprefix("!") for line in lines if line.startswith("!")]
        if missing:
            raise PyroError(
                ErrorCode.NOT_FOUND,
                f"the agent needs {', '.join(missing)}, which the toolbox does not have",
                hint="Take it off the `dropped` or `blocked` list in the image package's data/boot.json.",
            )
        prefix = f"{self.stdlib}/"
        files = {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}
        # Python locates its library by this file, although it runs a frozen copy.
        return sorted(files | {"os.pyc"})

    def libraries(self, file: Path) -> list[str]:
        """Return the names of the shared libraries that an ELF file of the toolbox is linked with."""
        libraries = self.root / "lib"
        done = process.run(
            [libraries / LOADER, "--library-path", libraries, "--list", file],
            timeout_s=_TIMEOUT_S,
            env=_ENVIRONMENT,
        )
        return [line.split()[0] for line in done.text.splitlines() if "=>" in line and LOADER not in line]


def take_toolbox(tree: Path, target: Path, rules: StdlibRules) -> Toolbox:
    """Create the toolbox `target` from a Debian tree with Python and its standard library.

    Raises:
        PyroError: NOT_FOUND if the tree has no Python.
    """
    interpreters = sorted((tree / "usr/bin").glob("python3.[0-9]*"))
    if not interpreters:
        raise PyroError(ErrorCode.NOT_FOUND, "the packages hold no Python interpreter")
    version = interpreters[-1].name
    toolbox = Toolbox(target, version)
    sources = tree / "usr/lib" / version
    (target / "bin").mkdir(parents=True)
    (target / "lib").mkdir()
    shutil.copyfile(interpreters[-1], target / "bin/python3")
    (target / "bin/python3").chmod(0o755)
    _copy_libraries(tree, target / "lib")
    # The interpreter that compiles the library needs the uncompiled one itself.
    shutil.copytree(sources, toolbox.stdlib, symlinks=True, ignore=_ignore(sources, rules))
    toolbox.compile(toolbox.stdlib, toolbox.stdlib, shown=f"/toolbox/lib/{version}", level=_STDLIB_LEVEL)
    for source in toolbox.stdlib.rglob("*.py"):
        source.unlink()
    _drop_unused_libraries(toolbox)
    return toolbox


def _ignore(sources: Path, rules: StdlibRules):  # noqa: ANN202 - as shutil.copytree wants it
    dropped = {*rules.dropped, "__pycache__", "EXTERNALLY-MANAGED", "LICENSE.txt"}

    def ignore(directory: str, names: list[str]) -> set[str]:
        if Path(directory) == sources:
            return {name for name in names if name.removesuffix(".py") in dropped}
        if Path(directory).name == "lib-dynload":
            return {name for name in names if name.startswith(rules.dropped_extensions)}
        return {name for name in names if name in {"__pycache__", "test", "tests"}}

    return ignore


def _copy_libraries(tree: Path, target: Path) -> None:
    """Copy every library as a plain file, under the name by which programs load it."""
    for directory in _LIBRARY_DIRS:
        for path in sorted((tree / directory).glob("*.so.*")):
            copy = target / path.name
            if not copy.exists():
                shutil.copyfile(_inside(tree, path), copy)
                copy.chmod(0o755)


def _inside(tree: Path, path: Path) -> Path:
    """Resolve a symbolic link relative to the root of the tree."""
    while path.is_symlink():
        link = os.readlink(path)
        path = tree / link.lstrip("/") if link.startswith("/") else path.parent / link
    return path


def _drop_unused_libraries(toolbox: Toolbox) -> None:
    used = {LOADER}
    for file in (toolbox.root / "bin/python3", *(toolbox.stdlib / "lib-dynload").glob("*.so")):
        used |= set(toolbox.libraries(file))
    for library in (toolbox.root / "lib").iterdir():
        if library.is_file() and library.name not in used:
            library.unlink()
