"""The project of an MCP server: what it is started with, and what its workspaces then start from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.progress import Silent
from pyro_mcp.model.workspace import SeedOrigin
from pyro_mcp.operations.project import Project, described, find_project
from pyro_mcp.protocol.names import MAX_DEPTH
from pyro_mcp.trees.entries import SeedRules
from pyro_mcp.trees.report import SeedReport
from pyro_mcp.workspace.lifecycle.host_tree import lay_tree
from tests.unit.trees.test_checkouts import assert_works, commit, git

NO_RULES = SeedRules()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    git(place, "init", "-q")
    (place / ".gitignore").write_text("out\n")
    commit(place, readme="one\n", src__app="a\n")
    git(place, "tag", "v1")
    commit(place, readme="two\n")
    return place


def laid(project: Project, tmp_path: Path) -> tuple[Path, SeedReport]:
    target = tmp_path / "guest/workspace"
    target.mkdir(parents=True)
    fields = project.seed(NO_RULES)
    report = lay_tree(fields["seed"], target, Silent(), rules=fields.get("seed_rules", NO_RULES))
    assert os.listdir(target.parent) == ["workspace"]
    return target, report


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"project_path": "/", "repo_url": "x"}, "--project-path and --repo-url"),
        ({"no_project_source": True, "project_path": "/"}, "--no-project-source contradicts"),
        ({"no_project_source": True, "repo_url": "x"}, "--no-project-source contradicts"),
        ({"repo_ref": "main"}, "--repo-ref needs --repo-url"),
        ({"repo_url": " "}, "--repo-url is ' '"),
        ({"repo_url": "x", "repo_ref": ""}, "--repo-ref is ''"),
        ({"repo_url": "--upload-pack=evil"}, "--repo-url is"),
        ({"project_path": "/nowhere"}, "--project-path /nowhere is not a directory"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(PyroError) as caught:
        find_project(**given)
    assert caught.value.code is ErrorCode.INVALID
    assert problem in caught.value.message
    assert caught.value.hint


def test_the_checkout_around_the_server_is_its_project_unless_it_is_told_otherwise(
    checkout: Path, tmp_path: Path
) -> None:
    assert find_project(checkout=checkout) == Project(checkout)
    assert find_project(checkout=None) is None
    assert find_project(checkout=checkout, no_project_source=True) is None
    assert find_project(project_path=checkout / "src") == Project(checkout)
    assert find_project(project_path=tmp_path) == Project(tmp_path)


def test_tracked_files_come_as_they_stand_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    (checkout / "readme").write_text("edited\n")
    (checkout / "untracked").write_text("u\n")
    (checkout / "out").write_text("o\n")
    # Entering it would be an error.
    (checkout / "/".join(["deep"] * (MAX_DEPTH + 1))).mkdir(parents=True)
    project = Project(checkout)

    guest, report = laid(project, tmp_path)

    assert sorted(os.listdir(guest)) == [".git", ".gitignore", "readme", "src"]
    assert git(guest, "status", "--porcelain") == " M readme\n"
    assert report.seed_path == os.fspath(checkout)
    assert project.seed(NO_RULES)["origin_kind"] is SeedOrigin.PROJECT_PATH
    assert project.text == f"the current project at {checkout}, git-tracked files only"
    assert_works(guest)


def test_a_repository_is_cloned_afresh_and_the_clone_is_removed(checkout: Path, tmp_path: Path) -> None:
    url = f"file://{checkout}"
    project = Project(repo_url=url, repo_ref="v1")

    guest, report = laid(project, tmp_path)

    assert (guest / "readme").read_text() == "one\n"
    assert git(guest, "log", "--format=%s").count("\n") == 1
    assert report.seed_path == url
    fields = project.seed(NO_RULES)
    assert (fields["origin_kind"], fields["origin_ref"]) == (SeedOrigin.REPO_URL, f"{url}@v1")


def test_a_clone_that_fails_is_explained_without_the_password(tmp_path: Path) -> None:
    project = Project(repo_url=f"file://me:secret@{tmp_path}/nowhere")
    with pytest.raises(PyroError) as caught:
        laid(project, tmp_path)
    assert "could not clone" in caught.value.message
    assert "--no-project-source" in caught.value.hint
    assert "secret" not in str(caught.value)
    assert os.listdir(tmp_path / "guest") == ["workspace"]


def test_a_ref_that_does_not_exist_is_named(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(PyroError, match="has no nowhere"):
        laid(Project(repo_url=f"file://{checkout}", repo_ref="nowhere"), tmp_path)


def test_a_checkout_that_git_can_not_read_is_not_taken_whole(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".git/HEAD").write_text("broken\n")
    with pytest.raises(PyroError) as caught:
        laid(Project(checkout), tmp_path)
    assert "can't list the tracked files" in caught.value.message
    assert "--project-path" in caught.value.hint


def test_what_workspaces_start_from_is_described(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert described(find_project(checkout=checkout)) == (
        f"the current project at {checkout}, git-tracked files only: 3",
        "",
    )
    assert described(Project(repo_url="https://me:secret@example.com/a.git")) == (
        "a clean clone of https://example.com/a.git",
        "",
    )
    monkeypatch.chdir(tmp_path)
    text, hint = described(None)
    assert text == f"none: {tmp_path} is in no git checkout (/ and the home directory do not count)"
    assert all(each in hint for each in ("--project-path", "--repo-url", "seed_path"))
    assert described(None, no_project_source=True) == ("none, as --no-project-source asks", "")


def test_a_checkout_that_git_can_not_read_is_described_with_the_ways_out(checkout: Path) -> None:
    (checkout / ".git/index").write_bytes(b"broken")
    text, hint = described(Project(checkout))
    assert "but git can't list them" in text
    assert all(each in hint for each in ("--project-path", "--repo-url", "--no-project-source"))
