"""Diffs of a real project in a real guest: installs, edits of every kind, and a seed that is inside a checkout."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.pyro_cli import pyro, pyro_json
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.vm

LOCK = "".join(f'"p{number:06d}": "1.0.0",\n' for number in range(70_000))
EDITS = r"""
sed -i 's/^value_7 = 1/value_7 = 2/' src/app.py; sed -i '100s/1.0.0/1.0.1/; 69000d' lock.json
mkdir -p node_modules/a venv; for n in $(seq 300); do echo $n > node_modules/a/$n; done
echo '*' > venv/.gitignore; echo 1 > venv/python; printf 'caf\351 noir\n' > latin.txt; printf '\1\0' > logo.png
mv renamed.txt moved.txt; chmod +x script; printf 'one\r\nTWO\r\n' > dos.txt; printf 'no newline' > end.txt
rm link; ln -s src/app.py link; echo 2 > dist/tracked.js; echo 1 > dist/built.js; rm gone.txt
rm -r linked; mkdir linked; echo 1 > linked/file; echo secret/ >> .gitignore; mkdir secret; echo 1 > secret/plan
git init -q; git add -A; git commit -qm inside || true
"""


def git_here(*words: str, cwd: Path, stdin: bytes = b"") -> bytes:
    done = git(*words, cwd=cwd, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_project(root: Path) -> Path:
    """Make a checkout whose directory pkg is the seed."""
    pkg = root / "pkg"
    for name in ("src", "dist", "other"):
        (pkg / name).mkdir(parents=True)
    (root / ".gitignore").write_text("/pkg/dist/\n")
    (pkg / ".gitignore").write_text("node_modules/\n")
    (pkg / "src/app.py").write_text("".join(f"value_{number} = 1\n" for number in range(2500)))
    (pkg / "lock.json").write_text(LOCK)
    for name in ("renamed.txt", "script", "gone.txt", "end.txt"):
        (pkg / name).write_text(f"{name}\n")
    (pkg / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    (pkg / "logo.png").write_bytes(b"\0\1\2")
    (pkg / "dist/tracked.js").write_text("1\n")
    (pkg / "link").symlink_to("lock.json")
    (pkg / "linked").symlink_to("src")
    git_here("init", "-q", "-b", "main", cwd=root)
    git_here("add", "-A", "-f", cwd=root)
    git_here("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "i", cwd=root)
    return pkg


def tree_of(root: Path) -> dict[str, bytes | str]:
    listed = git_here("ls-files", "-z", "--cached", "--others", cwd=root).decode().split("\0")
    found: dict[str, bytes | str] = {}
    for name in filter(None, listed):
        path = root / name
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.exists():
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("repo"))


@pytest.fixture(scope="module")
def edited(project: Path) -> Generator[str]:
    """Yield a workspace of that directory with all these edits in it."""
    made = pyro("workspace", "create", "debian:12", "--seed-path", str(project), "--id-only")
    assert made.returncode == 0, made.stderr
    ident = made.stdout.decode().strip()
    try:
        ran = pyro("workspace", "exec", ident, "--timeout-seconds", "120", "--", EDITS)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        yield ident
    finally:
        pyro("workspace", "delete", ident)


def clone(project: Path, place: Path) -> Path:
    subprocess.run(["cp", "-a", project.parent, place], check=True)
    return place / project.name


@pytest.mark.parametrize("at_the_top", [False, True], ids=["in that directory", "at the top"])
def test_the_patch_applies_wherever_git_is_run(project: Path, edited: str, tmp_path: Path, *, at_the_top: bool) -> None:
    there = clone(project, tmp_path / "clone")
    shown = pyro("workspace", "diff", edited, "--binary")
    assert not [line for line in shown.stderr.splitlines() if line.startswith(b"not in the patch")]
    git_here("apply", "--whitespace=nowarn", cwd=there.parent if at_the_top else there, stdin=shown.stdout)
    assert "value_7 = 2\n" in (there / "src/app.py").read_text()
    assert b"rename from pkg/renamed.txt\nrename to pkg/moved.txt\n" in shown.stdout
    lock = (there / "lock.json").read_text()
    assert (lock.count("1.0.1"), len(lock.splitlines())) == (1, 69_999)
    assert (there / "latin.txt").read_bytes() == b"caf\xe9 noir\n"
    assert (there / "logo.png").read_bytes() == b"\1\0"
    assert (there / "dos.txt").read_bytes() == b"one\r\nTWO\r\n"
    assert (there / "end.txt").read_bytes() == b"no newline"
    assert (there / "moved.txt").read_bytes() == b"renamed.txt\n"
    assert str((there / "link").readlink()) == "src/app.py"
    assert (there / "script").stat().st_mode & 0o111
    assert (there / "dist/tracked.js").read_text() == "2\n"
    assert (there / "linked/file").exists()
    gone = ("renamed.txt", "gone.txt", "node_modules", "venv", "secret", "dist/built.js")
    assert not [name for name in gone if (there / name).exists()]


def test_a_change_that_the_patch_lacks_is_the_first_line_of_stderr(edited: str) -> None:
    shown = pyro("workspace", "diff", edited)
    assert shown.stderr.splitlines()[0] == b"not in the patch: modified logo.png (binary: --binary includes it)"
    assert [line for line in shown.stdout.splitlines() if line.startswith(b"diff --git")][-1].startswith(
        b"diff --git a/pkg/linked/file"
    )


def test_ignored_names_are_counted_and_those_of_changed_rules_named(edited: str) -> None:
    found = pyro_json("workspace", "diff", edited)
    ignored = {each["path"]: each["by_changed_rule"] for each in found["ignored"]}
    assert ignored == {
        "secret/": True, "venv/": True, ".git/": False, "dist/built.js": False, "node_modules/": False
    }  # fmt: skip
    assert (found["ignored_count"], found["changed_rule_count"], found["patch_prefix"]) == (5, 2, "pkg/")
    assert found["missing"] == [{"path": "logo.png", "status": "modified", "reason": "binary"}]
    assert {each["path"] for each in found["entries"] if each["ignored"]} == {"dist/tracked.js"}
    shown = pyro("workspace", "diff", edited).stderr.decode()
    assert "left out: secret/ (only a changed .gitignore rule hides it" in shown


def test_a_path_and_a_flag_include_what_is_ignored(edited: str) -> None:
    one = pyro_json("workspace", "diff", edited, "--path", "node_modules/a/7")
    assert [each["path"] for each in one["entries"]] == ["node_modules/a/7"]
    named = pyro_json("workspace", "diff", edited, "--path", "node_modules")
    assert (named["summary"]["added"], named["ignored_count"]) == (300, 0)
    every = pyro_json("workspace", "diff", edited, "--include-ignored")
    paths = {each["path"] for each in every["entries"]}
    assert {"secret/plan", "venv/python", "dist/built.js", "node_modules/a/300"} <= paths
    assert every["ignored_count"] == 0
    missing = pyro("workspace", "diff", edited, "--path", "nowhere")
    assert (missing.returncode, missing.stdout) == (1, b"")


def test_the_summary_names_the_edits_and_counts_what_is_ignored(edited: str) -> None:
    page = pyro("workspace", "summary", edited).stdout.decode()
    assert "- modified `src/app.py` +1 -1\n" in page
    assert "Ignored and left out: 5. Only changed rules hide `secret/`, `venv/`.\n" in page
    assert "- added `node_modules" not in page


def test_an_export_has_the_project_without_what_is_ignored(edited: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = pyro("workspace", "export", edited, "/workspace", "--output", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "dist/tracked.js").read_text() == "2\n"
    assert (out / "moved.txt").exists()
    assert not [name for name in ("node_modules", "venv", "secret", ".git", "dist/built.js") if (out / name).exists()]
    named = tmp_path / "named"
    assert pyro("workspace", "export", edited, "node_modules", "--output", str(named)).returncode == 0
    assert len(list((named / "a").iterdir())) == 300
