"""Trees for patches: one in memory, and the ways to put a plan into it and to make real diffs of two of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.patches import Delete, Plan, Write, parse, paths_of, plan

if TYPE_CHECKING:
    from pathlib import Path

Files: TypeAlias = dict[str, bytes]
# No settings of the machine, and no repository around: git is a program that reads two trees.
GIT_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CEILING_DIRECTORIES": "/",
    "LC_ALL": "C",
}


@dataclass
class MemoryTree:
    """Answer from a dictionary, and remember what was asked."""

    files: Files
    modes: dict[str, int] = field(default_factory=dict[str, int])
    special: dict[str, FileKind] = field(default_factory=dict[str, FileKind])
    asked: set[str] = field(default_factory=set[str])

    def kind(self, path: str) -> FileKind | None:
        self.asked.add(path)
        if path in self.special:
            return self.special[path]
        if path in self.files:
            return FileKind.FILE
        return FileKind.DIRECTORY if any(name.startswith(path + "/") for name in self.files) else None

    def read(self, path: str) -> bytes | None:
        self.asked.add(path)
        return self.files.get(path)

    def mode(self, path: str) -> int:
        self.asked.add(path)
        return self.modes.get(path, 0o644)

    def after(self, made: Plan) -> MemoryTree:
        """Return the tree with a plan put into it, checking what the plan promises on the way."""
        files, modes = dict(self.files), dict(self.modes)
        paths = [change.path for change in made.changes]
        assert len(set(paths)) == len(paths)
        kinds = [type(change) for change in made.changes]
        assert kinds == sorted(kinds, key=lambda kind: kind is Write)
        for change in made.changes:
            match change:
                case Delete(path):
                    del files[path]
                    modes.pop(path, None)
                case Write(path, data, mode, created=created):
                    assert created == (path not in self.files)
                    files[path] = data
                    modes[path] = mode
        return MemoryTree(files, modes)


def planned(patch: str | bytes, tree: MemoryTree) -> Plan:
    """Plan a patch, checking that the tree is asked only what was announced."""
    parsed = parse(patch)
    made = plan(parsed, tree)
    assert tree.asked <= set(paths_of(parsed))
    return made


def applied(patch: str | bytes, files: Files) -> Files:
    """Return the files after a patch."""
    tree = MemoryTree(files)
    return tree.after(planned(patch, tree)).files


def outcome(patch: str | bytes, files: Files) -> Files | PyroError:
    """Return the files after a patch or what it is refused with, checking that a refusal is one for a model."""
    tree = MemoryTree(dict(files))
    try:
        return tree.after(planned(patch, tree)).files
    except PyroError as error:
        refusal = error
    assert tree.files == files
    assert refusal.code in {ErrorCode.INVALID, ErrorCode.CONFLICT}
    assert refusal.hint
    assert refusal.details["reason"]
    assert f"{refusal.message}{refusal.hint}".replace("\n", "").isprintable()
    assert len(refusal.message) < 10_000
    return refusal


def refusal(patch: str | bytes, tree: MemoryTree | Files) -> PyroError:
    """Return what a patch is refused with."""
    with pytest.raises(PyroError) as caught:
        planned(patch, tree if isinstance(tree, MemoryTree) else MemoryTree(tree))
    return caught.value


def git(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", *arguments], cwd=cwd, input=stdin, capture_output=True, env=GIT_ENVIRONMENT, timeout=60, check=False
    )


def write_files(root: Path, files: Files, modes: dict[str, int] | None = None) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod((modes or {}).get(name, 0o644))


def read_files(root: Path) -> Files:
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {path: data for path, data in found.items() if not path.startswith(".git/")}


def git_diff(root: Path, before: MemoryTree, after: MemoryTree, *options: str) -> bytes:
    """Return what git writes about two trees."""
    trees: list[str] = []
    git("init", "--quiet", "--initial-branch=main", cwd=root)
    for tree in (before, after):
        for path in read_files(root):
            (root / path).unlink()
        write_files(root, tree.files, tree.modes)
        git("add", "--all", "--force", cwd=root)
        trees.append(git("write-tree", cwd=root).stdout.decode().strip())
    made = git("diff", *options, *trees, cwd=root)
    assert made.returncode == 0, made.stderr
    return made.stdout


def git_apply(root: Path, files: Files, patch: bytes, *options: str) -> Files | None:
    """Return the files as `git apply` leaves them, or None where it refuses."""
    write_files(root, files)
    made = git("apply", "--whitespace=nowarn", *options, "-", cwd=root, stdin=patch)
    return read_files(root) if made.returncode == 0 else None
