"""A seed of a git checkout is a repository that a guest can use, and holds nothing of the host's beside it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.host.progress import Silent
from pyro_mcp.trees.checkouts import history
from pyro_mcp.trees.entries import SeedRules
from pyro_mcp.trees.hooks.git_config import may_run_programs
from pyro_mcp.workspace.lifecycle.host_tree import lay_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.trees.report import SeedReport

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
    "GIT_CONFIG_KEY_1": "init.defaultBranch",
    "GIT_CONFIG_VALUE_1": "main",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], check=False, cwd=directory, env=_ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def commit(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", f"change {' '.join(files)}")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Make a repository of three commits, an ignored directory and a second branch."""
    place = tmp_path / "origin"
    place.mkdir()
    git(place, "init", "-q")
    (place / ".gitignore").write_text("out/\n*.log\n")
    commit(place, readme="one\n", src__app="a\n", docs__page="p\n")
    git(place, "tag", "-a", "v1", "-m", "first")
    commit(place, readme="two\n")
    commit(place, src__app="b\n")
    git(place, "checkout", "-q", "-b", "other")
    commit(place, elsewhere="secret of another branch\n")
    git(place, "checkout", "-q", "main")
    return place


@pytest.fixture
def seeded(tmp_path: Path) -> Callable[..., tuple[Path, SeedReport]]:
    """Return a function that lays a seed into a new directory, as for a workspace."""

    def lay(seed: Path, **rules: Any) -> tuple[Path, SeedReport]:
        target = tmp_path / f"guests/{len(list(tmp_path.glob('guests/*')))}/workspace"
        target.mkdir(parents=True)
        report = lay_tree(seed, target, Silent(), rules=SeedRules(**rules))
        assert os.listdir(target.parent) == ["workspace"]
        return target, report

    return lay


def assert_works(guest: Path) -> None:
    """Log, diff, status, stash and commit, in a repository that has nothing outside it."""
    assert git(guest, "log", "--format=%s")
    git(guest, "status")
    git(guest, "fsck")
    name = [each for each in git(guest, "ls-files").splitlines() if (guest / each).is_file()][-1]
    before = git(guest, "status", "--porcelain")
    (guest / name).write_text("changed\n")
    assert "+changed" in git(guest, "diff")
    git(guest, "stash")
    git(guest, "stash", "pop")
    git(guest, "commit", "-q", "-m", "in the guest", "--", name)
    assert git(guest, "status", "--porcelain") == before.replace(f" M {name}\n", "")
    assert not (guest / ".git/objects/info/alternates").exists()
    assert not may_run_programs((guest / ".git/config").read_bytes())


def test_a_checkout_comes_with_what_head_reaches_and_nothing_else(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    git(origin, "config", "core.fsmonitor", "touch /tmp/never")
    git(origin, "config", "credential.helper", "store")
    git(origin, "config", "remote.origin.url", "https://me:password@example.com/a.git?token=password")
    git(origin, "config", "http.extraHeader", "Authorization: password")
    git(origin, "config", "user.email", "me@example.com")
    (origin / ".git/hooks/pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (origin / ".git/hooks/pre-commit").chmod(0o755)
    other = git(origin, "rev-parse", "other").strip()

    guest, report = seeded(origin)

    assert git(guest, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD")
    assert git(guest, "describe") == "v1-2-g" + git(origin, "rev-parse", "--short", "HEAD")
    assert git(guest, "branch", "--show-current") == "main\n"
    assert not git(guest, "status", "--porcelain")
    assert other not in git(guest, "cat-file", "--batch-all-objects", "--batch-check")
    config = (guest / ".git/config").read_text()
    assert "password" not in config
    assert "me@" not in config
    assert git(guest, "remote", "get-url", "origin") == "https://example.com/a.git\n"
    assert not os.listdir(guest / ".git/hooks")
    assert not report.notes
    assert not report.skipped
    assert_works(guest)


def test_what_is_staged_and_edited_is_as_on_the_host(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / "readme").write_text("staged\n")
    (origin / "new").write_text("staged too\n")
    git(origin, "add", "readme", "new")
    for name in ("empty", "intended", "intended_empty", "was_there"):
        (origin / name).touch()
    git(origin, "add", "empty", "was_there")
    git(origin, "commit", "-q", "-m", "one more", "--", "was_there")
    git(origin, "rm", "-q", "--cached", "was_there")
    git(origin, "add", "-N", "intended", "intended_empty", "was_there")
    (origin / "intended").write_text("not staged\n")
    (origin / "src/app").write_text("edited\n")
    (origin / "docs/page").unlink()
    (origin / "untracked").write_text("u\n")

    guest, _ = seeded(origin)

    status = ("status", "--porcelain", "--no-renames")
    assert git(guest, *status) == git(origin, *status)
    assert git(guest, "diff", "--cached") == git(origin, "diff", "--cached")
    assert git(guest, "diff") == git(origin, "diff")


def test_an_intention_to_add_what_is_gone_does_no_harm(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    for name in ("gone", "now_a_directory", "src/inside"):
        (origin / name).touch()
        git(origin, "add", "-N", name)
    (origin / "gone").unlink()
    (origin / "now_a_directory").unlink()
    (origin / "now_a_directory").mkdir()
    (origin / "now_a_directory/file").touch()

    guest, _ = seeded(origin)
    assert " A src/inside\n" in git(guest, "status", "--porcelain")
    inner, report = seeded(origin / "src")
    assert git(inner, "status", "--porcelain") == " A inside\n"
    # A directory on the way has become a link.
    (origin / "src").rename(origin / "moved")
    (origin / "src").symlink_to("moved")
    guest, report = seeded(origin)
    assert git(guest, "log", "--format=%s")
    assert not report.skipped


def test_ignored_files_stay_on_the_host_unless_they_are_asked_for(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / "out/deep").mkdir(parents=True)
    (origin / "out/deep/large").write_bytes(b"x" * 3 * 1024**2)
    (origin / "out/small").write_bytes(b"x")
    (origin / "src/trace.log").write_text("log\n")

    guest, report = seeded(origin)
    whole, all_of_it = seeded(origin, include_ignored=True)

    assert not (guest / "out").exists()
    assert not (guest / "src/trace.log").exists()
    assert (report.ignored_count, report.ignored_bytes) == (3, 3 * 1024**2 + 5)
    assert report.largest_ignored[0] == ("out", "3.0 MiB in 2 files")
    assert (whole / "out/small").exists()
    assert all_of_it.ignored_count == 0


def test_tracked_files_alone_are_read_where_that_is_asked_for(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / "untracked").mkdir()
    (origin / "untracked/file").touch()
    (origin / "intended").write_text("i\n")
    git(origin, "add", "-N", "intended")
    (origin / "readme").write_text("edited\n")

    guest, _ = seeded(origin, tracked_only=True)

    assert sorted(os.listdir(guest)) == [".git", ".gitignore", "docs", "intended", "readme", "src"]
    assert (guest / "readme").read_text() == "edited\n"


@pytest.mark.parametrize("kind", ["worktree", "alternates", "shallow", "partial", "treeless", "sparse", "detached"])
def test_checkouts_of_every_kind_work_in_the_guest(
    kind: str, origin: Path, tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    seed, url = tmp_path / "seed", f"file://{origin}"
    git(origin, "config", "uploadpack.allowFilter", "true")
    match kind:
        case "worktree":
            git(origin, "worktree", "add", "-q", os.fspath(seed), "-b", "side")
        case "alternates":
            git(tmp_path, "clone", "-q", "--shared", os.fspath(origin), "seed")
        case "shallow":
            git(tmp_path, "clone", "-q", "--depth=1", url, "seed")
        case "partial":
            git(tmp_path, "clone", "-q", "--filter=blob:none", url, "seed")
        case "treeless":
            git(tmp_path, "clone", "-q", "--filter=tree:0", url, "seed")
        case "sparse":
            git(tmp_path, "clone", "-q", os.fspath(origin), "seed")
            git(seed, "sparse-checkout", "set", "src")
        case _:
            git(tmp_path, "clone", "-q", os.fspath(origin), "seed")
            git(seed, "checkout", "-q", "--detach", "HEAD~1")

    guest, report = seeded(seed)
    origin.rename(tmp_path / "moved away")

    assert not report.skipped
    assert not git(guest, "status", "--porcelain")
    said = {"partial": "partial clone", "treeless": "partial clone", "sparse": "working tree: 1."}
    assert len(report.notes) == (kind in said)
    assert said.get(kind, "") in "".join(report.notes)
    assert (guest / "docs").exists() == (kind != "sparse")
    assert_works(guest)


def test_submodules_and_repositories_inside_work_too(
    origin: Path, tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    git(seed, "init", "-q")
    commit(seed, top="t\n")
    git(seed, "submodule", "add", "-q", os.fspath(origin), "vendor/part")
    git(seed, "commit", "-q", "-m", "with a submodule")
    git(seed, "submodule", "add", "-q", os.fspath(origin), "vendor/absent")
    git(seed, "commit", "-q", "-m", "with another")
    git(seed, "submodule", "deinit", "-q", "-f", "vendor/absent")
    git(tmp_path, "clone", "-q", os.fspath(origin), os.fspath(seed / "inside"))
    (seed / "vendor/part/out").mkdir()
    (seed / "vendor/part/out/x").write_text("x")

    guest, report = seeded(seed)

    assert git(guest, "status", "--porcelain") == "?? inside/\n"
    assert not (guest / "vendor/part/out").exists()
    assert (guest / "vendor/absent").is_dir()
    assert report.ignored_count == 1
    for place in (guest / "vendor/part", guest / "inside", guest):
        assert_works(place)

    alone, _ = seeded(seed / "vendor/part")
    assert_works(alone)


def test_a_directory_of_a_checkout_has_the_history_of_that_directory(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / "src/app").write_text("edited\n")

    guest, report = seeded(origin / "src")

    assert git(guest, "log", "--format=%s|%an") == "change src__app|a@b\nchange readme src__app docs__page|a@b\n"
    assert git(guest, "ls-files") == "app\n"
    assert git(guest, "status", "--porcelain") == " M app\n"
    assert git(guest, "branch", "--show-current") == "main\n"
    assert "have other ids" in report.notes[0]
    assert_works(guest)


def test_a_directory_of_which_git_tracks_nothing_comes_whole(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / "out").mkdir()
    (origin / "out/trace.log").write_text("log\n")

    guest, report = seeded(origin / "out")

    assert os.listdir(guest) == ["trace.log"]
    assert not report.notes


def test_a_branch_without_commits_keeps_its_index(
    tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    git(seed, "init", "-q", "-b", "unborn")
    (seed / "file").write_text("f\n")
    git(seed, "add", "file")

    guest, _ = seeded(seed)

    assert git(guest, "status", "--porcelain") == "A  file\n"
    assert git(guest, "branch", "--show-current") == "unborn\n"
    git(guest, "commit", "-q", "-m", "first")


def test_long_history_is_cut_and_that_is_said(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_HISTORY_BYTES", 100)
    monkeypatch.setattr(history, "KEPT_COMMITS", 2)

    guest, report = seeded(origin)
    inner, _ = seeded(origin / "src")

    assert git(guest, "log", "--format=%s") == "change src__app\nchange readme\n"
    assert report.notes[0].startswith("History: the last 2 commits.")
    assert git(inner, "log", "--format=%s") == "change src__app\nchange readme src__app docs__page\n"
    assert_works(guest)


def test_no_program_that_the_checkout_names_is_run(
    origin: Path, tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    mark = tmp_path / "mark"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    git(origin, "clone", "-q", "--filter=blob:none", f"file://{origin}", os.fspath(tmp_path / "seed"))
    seed = tmp_path / "seed"
    (seed / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.askPass", "core.editor", "core.pager",
        "core.alternateRefsCommand", "credential.helper", "diff.external", "diff.evil.textconv", "diff.evil.command",
        "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "merge.evil.driver", "gpg.program",
        "uploadpack.packObjectsHook", "remote.origin.uploadpack", "remote.origin.vcs",
    ):  # fmt: skip
        git(seed, "config", key, os.fspath(program))
    git(seed, "config", "core.hooksPath", os.fspath(tmp_path))
    git(seed, "config", "filter.evil.required", "true")
    git(seed, "config", "remote.origin.url", f"ext::{program}")
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "pre-commit"):
        (tmp_path / hook).symlink_to(program)

    guest, report = seeded(seed)

    assert not mark.exists()
    assert os.fspath(program) not in (guest / ".git/config").read_text()
    assert any("evil" in note for note in report.notes)
    assert git(guest, "log", "--format=%s")


def test_a_git_file_that_leads_to_a_repository_of_somebody_else_brings_nothing(
    origin: Path, tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / ".git").write_text(f"gitdir: {origin}/.git\n")
    (seed / "file").touch()

    guest, report = seeded(seed)

    assert sorted(os.listdir(guest)) == [".git", "file"]
    assert "does not name" in report.notes[0]


def test_excluded_files_stay_on_the_host_and_are_not_deleted_for_git(
    origin: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (origin / ".pyroignore").write_text("# large\n/docs/\n*.bin\n!keep.bin\n")
    for name in ("a.bin", "keep.bin", "notes"):
        (origin / name).write_text(name)

    guest, report = seeded(origin, exclude=("notes",))

    assert sorted(os.listdir(guest)) == [".git", ".gitignore", ".pyroignore", "keep.bin", "readme", "src"]
    assert git(guest, "status", "--porcelain") == "?? .pyroignore\n?? keep.bin\n"
    assert report.ignored_count == 3
    assert_works(guest)


def test_a_directory_that_is_no_checkout_has_exclusions_too(
    tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    for name in ("plain/sub/x.log", "plain/sub/x", "plain/cache/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    guest, report = seeded(tmp_path / "plain", exclude=("*.log", "cache"))

    assert sorted(os.path.relpath(path, guest) for path in guest.rglob("*")) == ["sub", "sub/x"]
    assert report.ignored_count == 2


def test_an_archive_and_a_pyroignore_that_is_a_link_are_refused(
    tmp_path: Path, seeded: Callable[..., tuple[Path, SeedReport]]
) -> None:
    (tmp_path / "a.tar").touch()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/.pyroignore").symlink_to("/etc/passwd")

    with pytest.raises(PyroError, match="nothing in it can be excluded"):
        seeded(tmp_path / "a.tar", exclude=("x",))
    with pytest.raises(PyroError, match="pyroignore can't be used"):
        seeded(tmp_path / "plain")
