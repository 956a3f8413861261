"""Our reading of .gitignore against git's own, over generated trees and patterns."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.guest.tasks.ignoring import TreeRules
from tests.support.thorough import examples
from tests.unit.patches.trees import GIT_ENVIRONMENT

NAMES = [
    b"a",
    b"b",
    b"ab",
    b"build",
    b"x.o",
    b"y.c",
    b"foo",
    b"foobar",
    b"a b",
    b"c ",
    b"[x]",
    b"#d",
    b"!e",
    b"\\f",
    b"\xe9",
]
PIECES = [
    *(b"a", b"b", b"foo", b"build", b"*", b"**", b"***", b"?", b"/", b"/", b"/", b"**/", b"/**", b"*.o", b"x.*", b" "),
    *(b"\\ ", b"\\", b"[ab]", b"[!a]", b"[^b]", b"[a-f]", b"[[:alpha:]]", b"[[:x:]]", b"[]x]", b"[", b"]", b"\\["),
    *(b"\xe9", b"[\\]]", b"[a", b"[--z]", b"[[:digit:]-z]", b"\t", b"\\/", b"\\*", b".", b"bar", b"[^/]", b"!", b"#"),
    *(b"\\#", b"[[:]", b"\xe9*"),
]  # fmt: skip
WHOLE_LINES = [
    *(b"", b"# a", b"*", b"!*/", b"/*", b"!/a/", b"a/**/b", b"**/foo", b"foo/**", b"/a/*/b", b"*.[oc]", b"foo**/bar"),
    *(b"/foo**", b"/a**/b", b"a/**", b"!", b"/", b"\\", b"**", b"a/", b"!a", b"*a*b*"),
]
CASES = 40


def a_path(rng: random.Random) -> bytes:
    return b"/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 4)))


def a_line(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.choice(WHOLE_LINES)
    start = rng.choice([b"", b"", b"", b"!", b"/", b"!/", b"**/"])
    middle = b"".join(rng.choice(PIECES) for _ in range(rng.randint(1, 5)))
    return start + middle + rng.choice([b"", b"", b"/", b" ", b"  ", b"\\ ", b"\r"])


def rules(rng: random.Random) -> bytes:
    lines = [a_line(rng) for _ in range(rng.randint(1, 5))]
    return rng.choice([b"", b"", b"\xef\xbb\xbf"]) + b"\n".join(lines) + rng.choice([b"", b"\n"])


def made(root: Path, paths: list[bytes], rules: dict[bytes, bytes]) -> None:
    """Make empty files, and directories for what others are below, and the files of rules."""
    base = os.fsencode(root)
    for path in paths:
        directory = base + b"/" + path.rpartition(b"/")[0]
        try:
            os.makedirs(directory, exist_ok=True)
            open(base + b"/" + path, "xb").close()
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    for directory, data in rules.items():
        if os.path.isdir(base + b"/" + directory):
            (root / os.fsdecode(directory) / ".gitignore").write_bytes(data)


def all_of(root: Path) -> list[tuple[bytes, bool]]:
    base = os.fsencode(root)
    found: list[tuple[bytes, bool]] = []
    for above, directories, files in os.walk(base):
        if b".git" in directories:
            directories.remove(b".git")
        for name in [*directories, *files]:
            path = (above + b"/" + name)[len(base) + 1 :]
            found.append((path, name in directories and not os.path.islink(above + b"/" + name)))
    return found


def ours(root: Path, paths: list[tuple[bytes, bool]]) -> set[bytes]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        rules = TreeRules(fd, {})
        return {path for path, is_directory in paths if rules.ignores(path, is_directory=is_directory)}
    finally:
        os.close(fd)


def gits(root: Path, paths: list[tuple[bytes, bool]]) -> set[bytes]:
    """Return those of the paths that `git check-ignore` says are ignored."""
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "-v", "-n"],
        cwd=root,
        env=GIT_ENVIRONMENT,
        input=b"".join(path + b"\0" for path, _ in paths),
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    fields = done.stdout.split(b"\0")
    rows = zip(fields[::4], fields[2::4], fields[3::4], strict=False)
    return {path for source, pattern, path in rows if source and not pattern.startswith(b"!")}


def repository(root: Path) -> Path:
    subprocess.run(["git", "init", "-q", "."], cwd=root, env=GIT_ENVIRONMENT, check=True)
    (root / ".git/info/exclude").unlink(missing_ok=True)
    return root


@pytest.mark.parametrize("seed", range(examples(30)))
def test_what_is_ignored_is_what_git_ignores(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root = repository(tmp_path)
    files: dict[bytes, bytes] = {}
    paths: list[bytes] = []
    for case in range(CASES):
        # The first is at the top, where patterns have no directory in front of them.
        base = b"case%d/" % case if case else b""
        paths += [base + a_path(rng) for _ in range(rng.randint(1, 12))]
        for directory in rng.sample([b"", b"a", b"build", b"a/b", b"foo"], rng.randint(1, 3)):
            if case or seed % 3 == 0:
                files[(base + directory).rstrip(b"/")] = rules(rng)
    made(root, paths, files)
    found = all_of(root)
    assert ours(root, found) == gits(root, found), files


def test_a_repository_inside_another_has_its_own_rules(tmp_path: Path) -> None:
    made(tmp_path, [b"inner/a.o", b"inner/a.log", b"b.o"], {b"": b"*.o\n", b"inner": b"*.log\n"})
    repository(tmp_path / "inner")
    assert ours(tmp_path, all_of(tmp_path)) == {b"inner/a.log", b"b.o"}
    inner = [(path.removeprefix(b"inner/"), False) for path, _ in all_of(tmp_path) if path.startswith(b"inner/")]
    assert gits(tmp_path / "inner", inner) == {b"a.log"}


def test_what_git_does_not_read_is_not_read(tmp_path: Path) -> None:
    made(tmp_path, [b"a", b"linked/b", b"piped/c", b"large/d"], {})
    (tmp_path / "rules").write_bytes(b"*\n")
    (tmp_path / "linked/.gitignore").symlink_to("../rules")
    os.mkfifo(tmp_path / "piped/.gitignore")
    (tmp_path / "large/.gitignore").write_bytes(b"*\n" + b"#" * 2**20)
    assert ours(tmp_path, all_of(tmp_path)) == set()


def test_many_asterisks_take_no_time_to_speak_of(tmp_path: Path) -> None:
    made(tmp_path, [b"a" * 200 + b"c", b"/".join([b"a"] * 100)], {b"": b"*a" * 60 + b"b\n" + b"**/a/" * 60 + b"b\n"})
    assert ours(tmp_path, all_of(tmp_path)) == set()
