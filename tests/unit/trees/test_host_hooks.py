"""What a tool of the host would run by itself comes out only if it was there before, or is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.progress import Silent
from pyro_mcp.protocol import tar_writer
from pyro_mcp.trees.hooks.census import HostHook
from pyro_mcp.trees.hooks.gate import HookPolicy, HostHookNote
from pyro_mcp.trees.outgoing import stream_tree
from pyro_mcp.trees.receive import ReceiveReport
from pyro_mcp.trees.seed import seed_disk
from tests.support.receiving import receive_tree
from tests.unit.trees.looking_in import DISK_BYTES, described

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.trees.report import SeedReport


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Give a test a directory that plays the guest's tree."""
    root = tmp_path / "guest"
    root.mkdir()
    return root


def write(root: Path, name: str, text: str = "evil", *, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def exported(guest: Path, output: Path, policy: HookPolicy | None = None) -> ReceiveReport:
    return receive_tree(stream_tree(guest), output, hooks=policy)


def seeded(tree: Path, tmp_path: Path) -> SeedReport:
    disk = tmp_path / "seed.img"
    disk.unlink(missing_ok=True)
    return seed_disk(tree, disk, DISK_BYTES, Silent())


def test_hooks_are_left_out_and_listed(guest: Path, tmp_path: Path) -> None:
    write(guest, ".envrc")
    write(guest, ".git/hooks/post-merge", mode=0o755)
    write(guest, "src/main.py")

    report = exported(guest, tmp_path / "out")

    assert report.host_hooks == (
        HostHookNote(".envrc", "direnv", kept=False),
        HostHookNote(".git/hooks/post-merge", "git", kept=False),
    )
    assert report.host_hook_count == 2
    assert report.left_out_count == 0
    assert set(described(tmp_path / "out")) == {b"src", b"src/main.py", b".git", b".git/hooks"}
    assert report.entry_count == 4


def test_hooks_come_out_if_they_are_wanted_and_are_still_listed(guest: Path, tmp_path: Path) -> None:
    write(guest, ".envrc", mode=0o755)
    (guest / ".vscode").symlink_to("elsewhere")

    report = exported(guest, tmp_path / "out", HookPolicy(include_all=True))

    assert described(tmp_path / "out") == described(guest)
    assert report.host_hooks == (
        HostHookNote(".envrc", "direnv", kept=True),
        HostHookNote(".vscode", "what is behind the link", kept=True),
    )


def test_what_was_in_the_seed_comes_back_and_what_became_of_it_does_not(guest: Path, tmp_path: Path) -> None:
    write(guest, ".envrc", "as it was")
    write(guest, ".husky/pre-commit", "as it was")
    write(guest, ".claude/settings.json", "as it was")
    (guest / ".idea").symlink_to("conf")
    baseline = seeded(guest, tmp_path).host_hooks
    write(guest, ".husky/pre-commit", "changed")
    (guest / ".claude/settings.json").chmod(0o755)
    (guest / ".git").symlink_to("conf")

    report = exported(guest, tmp_path / "out", HookPolicy(baseline=baseline))

    assert report.host_hooks == (
        HostHookNote(".envrc", "direnv", kept=True),
        HostHookNote(".claude/settings.json", "Claude Code", kept=False),
        HostHookNote(".husky/pre-commit", "husky", kept=False),
        HostHookNote(".git", "what is behind the link", kept=False),
        HostHookNote(".idea", "JetBrains", kept=True),
    )
    assert set(described(tmp_path / "out")) == {b".envrc", b".husky", b".claude", b".idea"}


def test_a_baseline_survives_being_stored_as_plain_lists(guest: Path, tmp_path: Path) -> None:
    write(guest, ".idea/odd\n\\name.xml")
    stored = [list(hook) for hook in seeded(guest, tmp_path).host_hooks]

    report = exported(guest, tmp_path / "out", HookPolicy(baseline=[HostHook(*each) for each in stored]))

    assert report.host_hooks == (HostHookNote(".idea/odd\\x0a\\\\name.xml", "JetBrains", kept=True),)


def test_a_name_in_the_baseline_is_one_of_the_workspace_not_of_the_export(guest: Path, tmp_path: Path) -> None:
    write(guest, "sub/.envrc")
    baseline = seeded(guest, tmp_path).host_hooks

    inside = exported(guest / "sub", tmp_path / "one", HookPolicy(inside=b"sub", baseline=baseline))
    elsewhere = exported(guest / "sub", tmp_path / "two", HookPolicy(inside=b"other", baseline=baseline))

    assert [hook.kept for hook in inside.host_hooks] == [True]
    assert [hook.kept for hook in elsewhere.host_hooks] == [False]


@pytest.mark.parametrize(("inside", "landing"), [(b".vscode", "harmless"), (b"harmless", ".vscode")])
def test_where_a_tree_was_counts_and_where_it_goes(guest: Path, tmp_path: Path, inside: bytes, landing: str) -> None:
    write(guest, "tasks.json")

    report = exported(guest, tmp_path / landing, HookPolicy(inside=inside))

    assert report.host_hooks == (HostHookNote("tasks.json", "Visual Studio Code", kept=False),)


def test_a_hook_that_is_all_there_is_to_export_is_refused(tmp_path: Path) -> None:
    header = tar_writer.file_header(b".", 0o644, 0, 0)

    with pytest.raises(PyroError, match=r"\.envrc would be run automatically by direnv") as caught:
        receive_tree([header + tar_writer.END], tmp_path / ".envrc", hooks=HookPolicy(inside=b".envrc"))

    assert caught.value.code is ErrorCode.INVALID
    assert "--include-host-hooks" in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_a_hard_link_does_not_smuggle_a_hook(guest: Path, tmp_path: Path) -> None:
    write(guest, "innocent")
    (guest / ".husky").mkdir()
    os.link(guest / "innocent", guest / ".husky/pre-commit")
    write(guest, ".envrc")
    os.link(guest / ".envrc", guest / "zz")

    report = exported(guest, tmp_path / "out")

    assert set(described(tmp_path / "out")) == {b"innocent", b".husky"}
    assert [hook.name for hook in report.host_hooks] == [".envrc", ".husky/pre-commit"]
    assert [note.name for note in report.left_out] == ["zz"]


GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.bareRepository=all"]


def git(directory: Path, *arguments: str) -> None:
    """Run git as somebody would who looks at an export; whether it likes what it sees does not matter."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    process.run([*GIT, *arguments], cwd=directory, env=environment, timeout_s=30, check=False)


def poisoned(root: Path, fired: Path) -> None:
    """Make a checkout in which nearly anything that git does runs something."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", ".")
    write(root, "tracked", "1")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    run = f"touch {fired}"
    write(root, ".gitattributes", "* filter=x diff=x\n")
    with open(root / ".git/config", "a", encoding="utf-8") as config:
        config.write(
            f'[core]\n\tfsmonitor = "{run}; false"\n\tpager = {run}\n\tsshCommand = {run}\n'
            f'[filter "x"]\n\tclean = {run}; cat\n[diff "x"]\n\ttextconv = {run}; cat\n'
        )
    for name in ("pre-commit", "post-checkout", "post-index-change", "fsmonitor-watchman"):
        write(root, f".git/hooks/{name}", f"#!/bin/sh\n{run}\n", mode=0o755)
    write(root, "tracked", "2")


def plain(guest: Path, fired: Path) -> None:
    poisoned(guest, fired)


def behind_a_file(guest: Path, fired: Path) -> None:
    poisoned(guest / "x", fired)
    os.rename(guest / "x/.git", guest / "metadata")
    write(guest, ".git", "gitdir: metadata\n")


def behind_a_link(guest: Path, fired: Path) -> None:
    poisoned(guest / "x", fired)
    os.rename(guest / "x/.git", guest / "metadata")
    (guest / ".git").symlink_to("metadata")


def with_a_common_directory(guest: Path, fired: Path) -> None:
    poisoned(guest / "x", fired)
    (guest / ".git").mkdir()
    os.rename(guest / "x/.git", guest / "metadata")
    write(guest, ".git/HEAD", "ref: refs/heads/master\n")
    write(guest, ".git/commondir", "../metadata\n")


def with_linked_config(guest: Path, fired: Path) -> None:
    poisoned(guest, fired)
    os.rename(guest / ".git/config", guest / "settings")
    (guest / ".git/config").symlink_to("../settings")


def with_included_config(guest: Path, fired: Path) -> None:
    poisoned(guest, fired)
    os.rename(guest / ".git/config", guest / "settings")
    write(guest, ".git/config", "[include]\n\tpath = ../settings\n")


def bare_at_the_top(guest: Path, fired: Path) -> None:
    poisoned(guest / "x", fired)
    for name in os.listdir(guest / "x/.git"):
        os.rename(guest / "x/.git" / name, guest / name)
    with open(guest / "config", "a", encoding="utf-8") as config:
        config.write("[core]\n\tbare = false\n\tworktree = .\n")


def in_a_subdirectory(guest: Path, fired: Path) -> None:
    poisoned(guest / "deep/er", fired)


POISONS = [
    plain, behind_a_file, behind_a_link, with_a_common_directory, with_linked_config, with_included_config,
    bare_at_the_top, in_a_subdirectory,
]  # fmt: skip


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_git_fires_nothing_in_an_exported_tree(
    guest: Path, tmp_path: Path, poison: Callable[[Path, Path], None]
) -> None:
    fired = tmp_path / "fired"
    poison(guest, fired)

    def look_at(root: Path) -> None:
        for directory in (root, root / "deep/er"):
            if directory.is_dir():
                for arguments in (["status"], ["diff"], ["log", "-p"], ["add", "-A"], ["commit", "-m", "x"]):
                    git(directory, *arguments)

    report = exported(guest, tmp_path / "out")
    fired.unlink(missing_ok=True)
    look_at(tmp_path / "out")
    assert not fired.exists()
    assert report.host_hook_count > 0

    # It is armed: where all of it comes out, it goes off.
    exported(guest, tmp_path / "armed", HookPolicy(include_all=True))
    look_at(tmp_path / "armed")
    assert fired.exists()


def test_an_ordinary_checkout_comes_out_as_a_checkout(guest: Path, tmp_path: Path) -> None:
    git(guest, "init", "-q", ".")
    write(guest, "tracked", "1")
    git(guest, "add", ".")
    git(guest, "commit", "-q", "-m", "first")
    git(guest, "remote", "add", "origin", "https://example.com/a/b.git")
    write(guest, "tracked", "2")

    report = exported(guest, tmp_path / "out")

    assert described(tmp_path / "out") == described(guest)
    assert (report.host_hook_count, report.left_out_count) == (0, 0)
    done = process.run(["git", "status", "--porcelain"], cwd=tmp_path / "out", timeout_s=30)
    assert done.text == " M tracked"


def test_a_bare_repository_that_was_seeded_comes_back_whole(guest: Path, tmp_path: Path) -> None:
    (guest / "fixtures/repo.git").mkdir(parents=True)
    git(guest / "fixtures/repo.git", "init", "-q", "--bare", ".")
    write(guest, "fixtures/repo.git/hooks/update", "as it was", mode=0o755)
    write(guest, "fixtures/repo.git/config", "[core]\n\tbare = true\n\tunheard-of = 1\n")
    baseline = seeded(guest, tmp_path).host_hooks

    kept = exported(guest, tmp_path / "one", HookPolicy(baseline=baseline))
    write(guest, "fixtures/repo.git/hooks/update", "changed", mode=0o755)
    dropped = exported(guest, tmp_path / "two", HookPolicy(baseline=baseline))

    assert {hook.name: hook.kept for hook in kept.host_hooks} == {
        "fixtures/repo.git/config": True,
        "fixtures/repo.git/hooks/update": True,
    }
    assert {hook.name: hook.kept for hook in dropped.host_hooks} == {
        "fixtures/repo.git/config": True,
        "fixtures/repo.git/hooks/update": False,
    }
    assert (tmp_path / "one/fixtures/repo.git/hooks/update").exists()
    assert not (tmp_path / "two/fixtures/repo.git/hooks/update").exists()


def test_directories_called_hooks_in_a_program_are_left_alone(guest: Path, tmp_path: Path) -> None:
    write(guest, "src/hooks/useThing.ts")
    write(guest, "src/config")
    write(guest, "HEAD")

    assert exported(guest, tmp_path / "out").host_hook_count == 0
    assert seeded(guest, tmp_path).host_hooks == ()
    assert described(tmp_path / "out") == described(guest)


def test_hooks_in_an_archive_are_found_as_in_a_directory(guest: Path, tmp_path: Path) -> None:
    write(guest, ".envrc", "x" * 300_000)
    write(guest, ".git/config", "[core]\n\tpager = evil\n")
    with open(guest / ".exrc", "wb") as sparse:
        os.pwrite(sparse.fileno(), b"data", 500_000)
        sparse.truncate(900_000)
    process.run(["tar", "-C", guest, "-Scf", tmp_path / "in.tar", "."], timeout_s=30)

    from_directory = seeded(guest, tmp_path).host_hooks
    from_archive = seeded(tmp_path / "in.tar", tmp_path).host_hooks
    stream = stream_tree(guest)
    (tmp_path / "again.tar").write_bytes(b"".join(stream))

    assert len(from_directory) == 3
    assert from_archive == from_directory == stream.report.host_hooks
    report = receive_tree(stream_tree(guest), tmp_path / "out", hooks=HookPolicy(baseline=from_archive))
    assert [hook.kept for hook in report.host_hooks] == [True] * 3
