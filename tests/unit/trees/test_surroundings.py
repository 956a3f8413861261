"""The checkout around a seed is found where git finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.trees.surroundings import Surroundings, surroundings_of
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_inside_a_checkout_has_a_prefix_and_the_rules_above_it(tmp_path: Path) -> None:
    inner = tmp_path / "top/a/b"
    inner.mkdir(parents=True)
    git("init", "-q", ".", cwd=tmp_path / "top")
    (tmp_path / "top/.gitignore").write_text("x\n")
    (tmp_path / "top/a/.gitignore").write_bytes(b"\xff\n")
    (inner / ".gitignore").write_text("y\n")
    (tmp_path / "link").symlink_to(inner)
    expected = Surroundings("a/b/", (("a/b/", "x\n"), ("b/", "\udcff\n")))
    assert surroundings_of(inner) == surroundings_of(tmp_path / "link") == expected
    assert git("rev-parse", "--show-prefix", cwd=inner).stdout == b"a/b/\n"


def test_the_top_of_a_checkout_and_what_is_in_none_have_nothing_around_them(tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    plain = tmp_path / "repo/plain"
    plain.mkdir()
    assert surroundings_of(plain) == Surroundings()
    git("init", "-q", ".", cwd=tmp_path / "repo")
    assert surroundings_of(tmp_path / "repo") == Surroundings()
    assert surroundings_of(plain).prefix == "plain/"


def test_a_linked_worktree_is_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / ".git").write_text("gitdir: /elsewhere\n")
    assert surroundings_of(tmp_path / "in").prefix == "in/"
