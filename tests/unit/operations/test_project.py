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


@pytest.fixture
def with_submodule(checkout: Path, tmp_path: Path) -> Path:
    """Make a repository with a submodule that is checked out, and one that is not."""
    place = tmp_path / "outer"
    place.mkdir()
    git(place, "init", "-q")
    commit(place, top="t\n")
    for name in ("part", "absent"):
        git(place, "submodule", "add", "-q", os.fspath(checkout), f"vendor/{name}")
    git(place, "commit", "-q", "-m", "with submodules")
    git(place, "submodule", "deinit", "-q", "-f", "vendor/absent")
    return place


def test_a_clone_has_its_submodules(with_submodule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text('[protocol "file"]\nallow = always\n')
    (with_submodule / "vendor/part/readme").write_text("edited here\n")

    guest, report = laid(Project(repo_url=f"file://{with_submodule}"), tmp_path)

    for name in ("part", "absent"):
        assert (guest / "vendor" / name / "readme").read_text() == "two\n"
        assert_works(guest / "vendor" / name)
    assert git(guest, "submodule", "status").count("\n") == 2
    assert not git(guest, "status", "--porcelain").replace(" M vendor/part\n", "").replace(" M vendor/absent\n", "")
    assert not report.notes


def test_a_submodule_that_git_does_not_fetch_is_named_and_the_rest_comes(
    with_submodule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without another word, git lets no repository name files of this host.
    monkeypatch.setenv("HOME", str(tmp_path))

    guest, report = laid(Project(repo_url=f"file://{with_submodule}"), tmp_path)

    assert (guest / "top").read_text() == "t\n"
    assert os.listdir(guest / "vendor/part") == []
    missing, _ = report.notes
    assert missing.startswith("The submodule vendor/absent is missing or incomplete: ")
    assert "transport 'file' not allowed" in missing


def test_a_submodule_that_fails_does_not_show_the_password_of_its_repository(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (checkout / ".gitmodules").write_text('[submodule "part"]\npath = part\nurl = https://me:secret@127.0.0.1:1/part\n')
    git(checkout, "add", ".gitmodules")
    head = git(checkout, "rev-parse", "HEAD").strip()
    git(checkout, "update-index", "--add", "--cacheinfo", f"160000,{head},part")
    git(checkout, "commit", "-q", "-m", "with a submodule")

    guest, report = laid(Project(repo_url=f"file://{checkout}"), tmp_path)

    (missing,) = report.notes
    assert "127.0.0.1:1/part" in missing
    assert "secret" not in missing
    assert "secret" not in (guest / ".git/config").read_text()


def test_tracked_files_of_submodules_come_as_they_stand(with_submodule: Path, tmp_path: Path) -> None:
    part = with_submodule / "vendor/part"
    (part / "readme").write_text("edited\n")
    for name in ("untracked", "out"):
        (part / name).write_text("x\n")

    guest, _ = laid(Project(with_submodule), tmp_path)

    assert sorted(os.listdir(guest / "vendor/part")) == [".git", ".gitignore", "readme", "src"]
    assert (guest / "vendor/part/readme").read_text() == "edited\n"
    assert os.listdir(guest / "vendor/absent") == []
    assert_works(guest / "vendor/part")


def test_executables_and_links_come_as_they_stand(checkout: Path, tmp_path: Path) -> None:
    commit(checkout, run="#!/bin/sh\n", plain="p\n", target="t\n")
    (checkout / "run").chmod(0o755)
    for name, to in {"link": "target", "up": "../elsewhere", "broken": "gone", "place": "src"}.items():
        (checkout / name).symlink_to(to)
    (checkout / "odd\nname \udcff").write_text("o\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "kinds")
    # Since the commit: executable, and a link that was a file.
    (checkout / "plain").chmod(0o755)
    (checkout / "target").unlink()
    (checkout / "target").symlink_to("plain")
    (tmp_path / "elsewhere").write_text("not of the project\n")

    guest, _ = laid(Project(checkout), tmp_path)

    assert [os.access(guest / name, os.X_OK) for name in ("run", "plain", "readme")] == [True, True, False]
    links = {name: os.readlink(guest / name) for name in ("link", "up", "broken", "place", "target")}
    assert links == {"link": "target", "up": "../elsewhere", "broken": "gone", "place": "src", "target": "plain"}
    assert (guest / "odd\nname \udcff").read_text() == "o\n"
    assert git(guest, "status", "--porcelain", "-z") == git(checkout, "status", "--porcelain", "-z")


def test_what_git_does_not_track_is_never_opened(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("untracked", "out", "place/inner", "node_modules/.git/config"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("secret\n")
    os.mkfifo(checkout / "pipe")
    opened: list[bytes] = []

    def record(path: Any, *arguments: Any, **more: Any) -> int:
        opened.append(os.path.basename(os.fsencode(path)))
        return real(path, *arguments, **more)

    real = os.open
    monkeypatch.setattr(os, "open", record)

    guest, _ = laid(Project(checkout), tmp_path)

    assert b"readme" in opened
    assert not {b"untracked", b"out", b"place", b"inner", b"node_modules", b"pipe"} & set(opened)
    assert sorted(os.listdir(guest)) == [".git", ".gitignore", "readme", "src"]


def test_files_of_a_project_that_can_not_be_read_matter_only_if_they_are_tracked(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "build").mkdir()
    (checkout / "build/file").touch()
    (checkout / "secret").touch()
    for name in ("build", "secret"):
        (checkout / name).chmod(0)
    guest, report = laid(Project(checkout), tmp_path)
    assert sorted(os.listdir(guest)) == [".git", ".gitignore", "readme", "src"]
    assert not report.skipped
    (checkout / "build").chmod(0o700)


def test_a_branch_without_commits_gives_what_was_added(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q", "-b", "unborn")
    for name in ("added", "intended", "untracked"):
        (project / name).write_text(f"{name}\n")
    git(project, "add", "added")
    git(project, "add", "-N", "intended")

    guest, _ = laid(Project(project), tmp_path)

    assert sorted(os.listdir(guest)) == [".git", "added", "intended"]
    assert (guest / "intended").read_text() == "intended\n"
    assert git(guest, "status", "--porcelain") == "A  added\n A intended\n"
    assert git(guest, "branch", "--show-current") == "unborn\n"


@pytest.mark.parametrize("kind", ["worktree", "sparse", "partial"])
def test_a_project_may_be_a_checkout_of_any_kind(kind: str, checkout: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "worktree":
        git(checkout, "worktree", "add", "-q", os.fspath(place), "-b", "side")
    elif kind == "sparse":
        git(tmp_path, "clone", "-q", os.fspath(checkout), "place")
        git(place, "sparse-checkout", "set", "--no-cone", "/readme")
    else:
        git(checkout, "config", "uploadpack.allowFilter", "true")
        git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{checkout}", "place")
    (place / "readme").write_text("edited\n")
    (place / "untracked").touch()
    (place / "intended").touch()
    git(place, "add", "-N", *(["--sparse"] if kind == "sparse" else []), "intended")
    assert find_project(project_path=place) == Project(place)

    guest, _ = laid(Project(place), tmp_path)
    checkout.rename(tmp_path / "moved away")

    whole = {".git", ".gitignore", "readme", "src", "intended"}
    assert set(os.listdir(guest)) == ({".git", "readme", "intended"} if kind == "sparse" else whole)
    assert git(guest, "status", "--porcelain") == " A intended\n M readme\n"
    assert git(guest, "log", "--format=%s").count("\n") == 2


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
