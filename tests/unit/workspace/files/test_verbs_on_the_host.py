"""The verbs on files and for review, from end to end, with the agent as a process of this host: no guest is booted."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from tests.support.sample_repo import FILES, PATCH, make_repo
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths


@pytest.fixture
def pyro(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[Pyro]:
    monkeypatch.setenv("PYRO_VMM", "none")
    with Pyro(paths=private_paths) as pyro:
        yield pyro
        for each in pyro.list_workspaces().workspaces:
            pyro.delete_workspace(each.workspace_id)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def ws(pyro: Pyro, repo: Path) -> str:
    return pyro.create_workspace("debian:12", seed_path=repo, allow_host_compat=True).workspace_id


def last_activity(pyro: Pyro, ws: str) -> str:
    return pyro.status_workspace(ws).last_activity_at


def test_files_are_listed_read_and_written(pyro: Pyro, ws: str) -> None:
    listed = pyro.list_workspace_files(ws, recursive=True)
    assert {f"/workspace/{name}" for name in FILES} <= {each.path for each in listed.entries}
    modes = {each.path: each.mode for each in listed.entries}
    assert modes["/workspace/run-tests"] == "0755"
    read = pyro.read_workspace_file(ws, "/workspace/README.md")
    assert (read.content, read.truncated, read.size_bytes) == ("# Stats\n", False, 8)
    written = pyro.write_workspace_file(ws, "new/dir/x.txt", text="ä\n")
    assert (written.created, written.size_bytes, written.path) == (True, 3, "/workspace/new/dir/x.txt")
    kept = pyro.write_workspace_file(ws, "run-tests", text="#!/bin/sh\n")
    assert (kept.created, kept.mode) == (False, "0755")
    for path in ("../x", "/etc/passwd", "", "a/../../x"):
        with pytest.raises(PyroError) as caught:
            pyro.read_workspace_file(ws, path)
        assert caught.value.code is ErrorCode.INVALID


def test_a_link_that_leads_outside_is_not_followed(pyro: Pyro, ws: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside", encoding="utf-8")
    pyro.exec_workspace(ws, command=["ln", "-s", str(tmp_path), "out"])
    for attempt in (
        lambda: pyro.read_workspace_file(ws, "out/secret"),
        lambda: pyro.write_workspace_file(ws, "out/secret", text="inside"),
        lambda: pyro.push_workspace_sync(ws, tmp_path / "repo", dest="out"),
        lambda: pyro.apply_workspace_patch(ws, patch="--- a/out/secret\n+++ b/out/secret\n@@ -1 +1 @@\n-outside\n+x\n"),
    ):
        with pytest.raises(PyroError):
            attempt()
    assert (tmp_path / "secret").read_text(encoding="utf-8") == "outside"


def test_a_patch_applies_whole_or_changes_nothing(pyro: Pyro, ws: str) -> None:
    patched = pyro.apply_workspace_patch(ws, patch=PATCH)
    assert [(each.path, each.status, each.added_lines) for each in patched.entries] == [
        ("/workspace/stats/mean.py", "modified", 1)
    ]
    assert any("line 2" in note for note in patched.notes)
    both = "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-# Stats\n+# Statistics\n" + PATCH.partition("```diff\n")[2]
    with pytest.raises(PyroError, match=r"stats/mean.py") as caught:
        pyro.apply_workspace_patch(ws, patch=both)
    assert caught.value.code is ErrorCode.CONFLICT
    assert pyro.read_workspace_file(ws, "README.md").content == "# Stats\n"


def test_a_diff_applies_on_the_seed_and_a_path_narrows_it(pyro: Pyro, ws: str, repo: Path) -> None:
    assert pyro.diff_workspace(ws).changed is False
    pyro.apply_workspace_patch(ws, patch=PATCH)
    pyro.exec_workspace(ws, command="rm README.md; ln -s mean.py stats/link; printf '\\0' > bin; chmod -x run-tests")
    diff = pyro.diff_workspace(ws)
    counts = diff.summary
    assert (counts.total, counts.added, counts.modified, counts.deleted) == (5, 2, 2, 1)
    assert (counts.text_patched, counts.non_text) == (4, 1)
    assert git("apply", "-", cwd=repo, stdin=diff.patch.encode()).returncode == 0
    assert os.readlink(repo / "stats/link") == "mean.py"
    assert not (repo / "README.md").exists()
    assert not (repo / "run-tests").stat().st_mode & 0o111
    assert [each.path for each in pyro.diff_workspace(ws, path="stats").entries] == ["stats/link", "stats/mean.py"]
    assert pyro.diff_workspace(ws, path="tests").changed is False


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
def test_a_tree_is_pushed(pyro: Pyro, ws: str, tmp_path: Path, packed: bool) -> None:
    source = tmp_path / "more"
    source.mkdir()
    (source / "tool").write_bytes(b"#!/bin/sh\n")
    (source / "tool").chmod(0o755)
    if packed:
        with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
            archive.add(source, ".")
        source = tmp_path / "more.tar.gz"
    pushed = pyro.push_workspace_sync(ws, source, dest="/workspace/lib").workspace_sync
    assert (pushed.destination, pushed.entry_count) == ("/workspace/lib", 1)
    assert pushed.mode == ("tar_archive" if packed else "directory")
    listed = pyro.list_workspace_files(ws, path="lib")
    assert [(each.path, each.mode) for each in listed.entries] == [("/workspace/lib/tool", "0755")]


def test_an_export_leaves_hooks_behind_and_overwrites_nothing(pyro: Pyro, ws: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pyro.exec_workspace(ws, command="printf '#!/bin/sh\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit")
    exported = pyro.export_workspace(ws, "/workspace", output_path=out, include_ignored=True)
    assert [(hook.name, hook.kept) for hook in exported.host_hooks if "pre-commit" in hook.name] == [
        (".git/hooks/pre-commit", False)
    ]
    assert not (out / ".git/hooks/pre-commit").exists()
    assert (out / ".git/config").exists()
    with pytest.raises(PyroError) as caught:
        pyro.export_workspace(ws, "/workspace", output_path=out)
    assert caught.value.code is ErrorCode.CONFLICT
    pyro.export_workspace(ws, ".", output_path=tmp_path / "all", include_ignored=True, include_host_hooks=True)
    assert (tmp_path / "all/.git/hooks/pre-commit").exists()


def test_an_export_leaves_ignored_files_behind_unless_they_are_named(pyro: Pyro, ws: str, tmp_path: Path) -> None:
    pyro.exec_workspace(ws, command="echo out/ > .gitignore; mkdir -p out/in; echo 1 > out/in/f; echo 1 > kept")
    exported = pyro.export_workspace(ws, "/workspace", output_path=tmp_path / "all")
    assert (tmp_path / "all/kept").exists()
    assert not any((tmp_path / "all" / name).exists() for name in ("out", ".git"))
    assert [(each.path, each.by_changed_rule) for each in exported.ignored] == [("out/", True), (".git/", False)]
    assert (exported.ignored_count, exported.changed_rule_count) == (2, 1)
    named = pyro.export_workspace(ws, "out", output_path=tmp_path / "out")
    assert named.ignored_count == 0
    assert (tmp_path / "out/in/f").read_text() == "1\n"
    pyro.export_workspace(ws, "out/in/f", output_path=tmp_path / "f")
    whole = pyro.export_workspace(ws, "/workspace", output_path=tmp_path / "whole", include_ignored=True)
    assert whole.ignored_count == 0
    assert (tmp_path / "whole/out/in/f").exists()
    assert (tmp_path / "whole/.git/HEAD").exists()


LATIN = "caf\\351\\n"


def test_a_patch_has_the_bytes_of_any_text(pyro: Pyro, ws: str, repo: Path) -> None:
    pyro.exec_workspace(ws, command=f"printf '{LATIN}' > latin; printf 'a\\0b' > binary")
    diff = pyro.diff_workspace(ws)
    assert diff.patch_base64 is not None
    assert "caf\ufffd" in diff.patch
    assert git("apply", "-", cwd=repo, stdin=diff.patch_bytes).returncode == 0
    assert (repo / "latin").read_bytes() == b"caf\xe9\n"
    assert [(each.path, each.reason) for each in diff.entries if not each.patched] == [("binary", "binary")]
    parts = [each.text_patch for each in diff.entries]
    assert "".join(each or "" for each in parts) == diff.patch
    assert {each.path: each.artifact_type for each in diff.entries} == {"binary": "file", "latin": "file"}
    alone = pyro.diff_workspace(ws, path="binary", binary=True)
    assert alone.patch_base64 is None
    assert git("apply", "-", cwd=repo, stdin=alone.patch_bytes).returncode == 0
    assert (repo / "binary").read_bytes() == b"a\0b"


def test_a_patch_of_a_directory_inside_a_checkout_has_paths_from_its_top(pyro: Pyro, repo: Path) -> None:
    first, second = (
        pyro.create_workspace("debian:12", seed_path=repo / "stats", allow_host_compat=True).workspace_id
        for _ in range(2)
    )
    pyro.exec_workspace(first, command="echo two >> mean.py; mkdir new; echo 1 > new/f")
    diff = pyro.diff_workspace(first)
    assert (diff.patch_prefix, diff.patch.split()[2]) == ("stats/", "a/stats/mean.py")
    applied = pyro.apply_workspace_patch(second, patch=diff.patch)
    assert [each.path for each in applied.entries] == ["/workspace/mean.py", "/workspace/new/f"]
    assert pyro.diff_workspace(second).patch == diff.patch
    assert git("apply", "-", cwd=repo / "stats", stdin=diff.patch_bytes).returncode == 0
    assert (repo / "stats/mean.py").read_text().endswith("two\n")


def test_a_changed_file_that_the_patch_lacks_is_named_first(pyro: Pyro, ws: str) -> None:
    pyro.exec_workspace(ws, command="printf '\\0' > README.md; printf '\\0' > new")
    diff = pyro.diff_workspace(ws)
    assert list(diff)[1:3] == ["missing_count", "missing"]
    assert (diff.missing_count, [dict(each) for each in diff.missing]) == (
        1,
        [{"path": "README.md", "status": "modified", "reason": "binary"}],
    )
    assert not pyro.diff_workspace(ws, binary=True).missing


def test_a_patch_leaves_out_and_names_what_a_host_tool_would_run(pyro: Pyro, ws: str, repo: Path) -> None:
    held = [".claude/settings.json", ".envrc", ".husky/pre-commit", ".mcp.json", ".vscode/tasks.json"]
    names = " ".join([*held, "AGENTS.md", "ordinary"])
    pyro.exec_workspace(ws, command=f"for f in {names}; do mkdir -p $(dirname $f); echo x > $f; done")
    diff = pyro.diff_workspace(ws)
    assert sorted((hook.name, hook.kept) for hook in diff.host_hooks) == sorted(
        [*((name, False) for name in held), ("AGENTS.md", True)]
    )
    assert [hook.is_instruction for hook in diff.host_hooks] == [*(False for _ in held), True]
    assert {each.path for each in diff.entries if not each.patched} == set(held)
    assert (diff.summary.text_patched, diff.summary.held_back, diff.summary.non_text) == (2, len(held), 0)
    assert git("apply", "-", cwd=repo, stdin=diff.patch.encode()).returncode == 0
    assert (repo / "ordinary").exists()
    assert (repo / "AGENTS.md").exists()
    assert not any((repo / name).exists() for name in held)
    all_of_it = pyro.diff_workspace(ws, include_host_hooks=True)
    assert all(hook.kept for hook in all_of_it.host_hooks)
    assert all(each.patched for each in all_of_it.entries)


def test_changes_of_the_project_are_in_the_patch_however_much_was_added(pyro: Pyro, ws: str, repo: Path) -> None:
    pyro.exec_workspace(
        ws,
        command="mkdir .added; for i in $(seq 20); do yes 'a line' | head -c 2000000 > .added/$i; done;"
        " echo new >> README.md",
    )
    diff = pyro.diff_workspace(ws)
    assert next(each for each in diff.entries if each.path == "README.md").patched
    assert not all(each.patched for each in diff.entries)
    assert git("apply", "-", cwd=repo, stdin=diff.patch.encode()).returncode == 0
    assert (repo / "README.md").read_text(encoding="utf-8").endswith("new\n")
    assert pyro.summarize_workspace(ws).changes.entries[0].path == "README.md"


def test_a_hook_of_a_new_repository_is_left_out_of_the_patch(pyro: Pyro, ws: str) -> None:
    pyro.exec_workspace(
        ws, command="git init -q --bare b && cd b && rm hooks/* && echo x > hooks/update && touch refs/r"
    )
    diff = pyro.diff_workspace(ws)
    assert [hook.name for hook in diff.host_hooks if not hook.kept] == ["b/hooks/update"]


def test_a_summary_tells_what_was_done(pyro: Pyro, ws: str, tmp_path: Path) -> None:
    pyro.exec_workspace(ws, command="exit 3")
    pyro.apply_workspace_patch(ws, patch=PATCH)
    pyro.write_workspace_file(ws, "note", text="x\n")
    pyro.export_workspace(ws, "note", output_path=tmp_path / "note")
    summary = pyro.summarize_workspace(ws)
    assert (summary.commands.count, summary.commands.failed_count) == (1, 1)
    assert [(each.path, each.status) for each in summary.changes.entries] == [
        ("stats/mean.py", "modified"),
        ("note", "added"),
    ]
    assert [each.kind for each in summary.events] == ["start", "patch", "file_write", "export"]
    assert [each.kind for each in summary.edits] == ["patch", "file_write"]
    assert [each.kind for each in summary.artifacts.exports] == ["export"]
    assert (summary.changes.available, summary.snapshots.named_count, summary.outcome.state) == (True, 0, "started")
    assert "`exit 3`: **exit 3**" in summary.page
    pyro.reset_workspace(ws)
    after = pyro.summarize_workspace(ws)
    assert (after.commands.count, [each.text for each in after.events]) == (0, ["reset to baseline"])
    assert "As in the baseline." in after.page


def test_reading_is_no_activity_and_changing_is(pyro: Pyro, ws: str, tmp_path: Path) -> None:
    before = last_activity(pyro, ws)
    pyro.read_workspace_file(ws, "README.md")
    pyro.list_workspace_files(ws)
    pyro.diff_workspace(ws)
    pyro.summarize_workspace(ws)
    pyro.logs_workspace(ws)
    pyro.export_workspace(ws, "README.md", output_path=tmp_path / "readme")
    assert last_activity(pyro, ws) == before
    pyro.write_workspace_file(ws, "x", text="x")
    assert last_activity(pyro, ws) > before


def test_all_output_of_one_command_can_be_had(pyro: Pyro, ws: str) -> None:
    done = pyro.exec_workspace(ws, command="seq -w 1 300000")
    logs = pyro.logs_workspace(ws)
    assert logs.entries[0].stdout_truncated is True
    whole = pyro.logs_workspace(ws, sequence=done.sequence).entries[0]
    assert (len(whole.stdout), whole.stdout_truncated) == (done.stdout_size_bytes, False)
    assert pyro.logs_workspace(ws, sequence=done.sequence, offset=7 * 1000).entries[0].stdout.startswith("001001\n")
    with pytest.raises(PyroError, match="no command number 99"):
        pyro.logs_workspace(ws, sequence=99)
