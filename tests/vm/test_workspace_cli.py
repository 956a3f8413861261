"""Workspaces as a user has them on the command line: real guests, one process for each command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.pyro_cli import pyro, pyro_json
from tests.support.sample_repo import PATCH, TEST, make_repo
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.process import Completed

pytestmark = pytest.mark.vm


@pytest.fixture(autouse=True)
def nothing_left() -> Generator[None]:
    """Delete what a test leaves, so that one failure is one failure."""
    yield
    for each in ws_json("list")["workspaces"]:
        ws("delete", each["workspace_id"])


def ws(*words: str, input: bytes | None = None) -> Completed:  # noqa: A002 - as process.run
    return pyro("workspace", *words, input=input)


def ws_json(*words: str) -> dict[str, Any]:
    return pyro_json("workspace", *words)


def done(*words: str, input: bytes | None = None) -> str:  # noqa: A002 - as process.run
    """Return what a command that works prints on stdout."""
    result = ws(*words, input=input)
    assert result.returncode == 0, result.stderr.decode() + result.stdout.decode()
    return result.stdout.decode()


def test_the_five_steps_of_a_fix(tmp_path: Path) -> None:
    repo, out = make_repo(tmp_path / "repo"), tmp_path / "out"
    ident = done(
        "create", "debian:12", "--seed-path", str(repo), "--name", "mend", "--label", "task=7", "--id-only"
    ).strip()
    assert ident.startswith("ws_")

    failing = ws("exec", "mend", "--", TEST)
    assert failing.returncode == 1
    assert b"AssertionError: 3.0 != 2" in failing.stdout
    assert f"[workspace-exec] workspace_id={ident} sequence=".encode() in failing.stderr

    (tmp_path / "fix.patch").write_text(PATCH, encoding="utf-8")
    assert "modified /workspace/stats/mean.py +1 -1" in done(
        "patch", "apply", "mend", "--patch-file", str(tmp_path / "fix.patch")
    )
    assert done("exec", "mend", "--", TEST).count("OK") == 1

    patch = ws("diff", "mend", "--json")
    document = json.loads(patch.stdout)
    assert document["summary"]["modified"] == 1
    shown = ws("diff", "mend")
    assert shown.stdout.decode() == document["patch"]
    assert b"[workspace-diff] workspace_id=" in shown.stderr
    assert git("apply", "-", cwd=repo, stdin=shown.stdout).returncode == 0
    assert "/ len(values)\n" in (repo / "stats/mean.py").read_text(encoding="utf-8")

    assert done("export", ident, "/workspace", "--output", str(out)).startswith("exported /workspace (")
    assert (out / "run-tests").stat().st_mode & 0o111
    page = done("summary", ident[:8])
    assert page.startswith(f"# Workspace mend ({ident})\n")
    assert "- modified `stats/mean.py` +1 -1" in page
    assert "**exit 1**" in page

    assert done("reset", "mend").startswith("reset ws_")
    assert ws("exec", "mend", "--", TEST).returncode == 1
    assert done("delete", "mend") == f"deleted {ident}\n"
    assert done("list") == "no workspaces\n"


def test_a_diff_applies_although_something_was_committed_in_the_workspace(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    ident = done("create", "debian:12", "--seed-path", str(repo), "--id-only").strip()
    commit = "git -c safe.directory=* -c user.name=a -c user.email=a@example.org commit -qam second"
    done("exec", ident, "--", f"echo more >> README.md; ln -s README.md LINK; chmod +x stats/mean.py; {commit}")
    patch = ws("diff", ident)
    assert b".git/" not in patch.stdout
    assert b"1 ignored left out (--include-ignored shows them)" in patch.stderr
    applied = git("apply", "-", cwd=repo, stdin=patch.stdout)
    assert applied.returncode == 0, applied.stderr
    assert (repo / "README.md").read_text(encoding="utf-8").endswith("more\n")
    assert (repo / "LINK").is_symlink()
    assert (repo / "stats/mean.py").stat().st_mode & 0o111


def test_files_are_written_read_and_listed() -> None:
    ident = done("create", "debian:12", "--id-only").strip()
    assert "created /workspace/a/b.txt (5 bytes)" in done("file", "write", ident, "a/b.txt", "--text", "x\ny\nz")
    read = ws("file", "read", ident, "/workspace/a/b.txt")
    assert read.stdout == b"x\ny\nz\n"
    assert b"[workspace-file-read] workspace_id=" in read.stderr
    assert ws("file", "read", ident, "a/b.txt", "--content-only").stdout == b"x\ny\nz"
    assert done("file", "write", ident, "a/b.txt", "--text-file", "-", input="ä\r\n".encode()).startswith("wrote")
    assert ws("file", "read", ident, "a/b.txt", "--content-only").stdout == "ä\r\n".encode()
    assert ws_json("file", "read", ident, "a/b.txt", "--max-bytes", "1")["content"] == ""
    listed = done("file", "list", ident, "--recursive").splitlines()
    assert [line.split()[-1] for line in listed] == ["/workspace/a", "/workspace/a/b.txt"]
    for path, why in (("/etc/passwd", "not under /workspace"), ("../x", "leads upwards"), ("nothing", "nothing")):
        refused = ws("file", "read", ident, path)
        assert refused.returncode == 1
        assert why in refused.stderr.decode()


def test_names_and_output_of_a_guest_reach_files_whole_and_no_terminal() -> None:
    ident = done("create", "debian:12", "--id-only").strip()
    ws("exec", ident, "--", "printf 'x\\033[2J' | tee \"$(printf 'e\\033]0;t\\007')\"")
    assert "e\\x1b]0;t\\x07" in done("file", "list", ident)
    assert "e\\033]0;t\\a" in done("diff", ident)
    assert b"\x1b[2J" in ws("logs", ident).stdout


def test_stdin_is_handed_on_when_asked_for_and_only_then() -> None:
    ident = done("create", "debian:12", "--id-only").strip()
    assert done("exec", ident, "-i", "--", "cat", input=b"given") == "given"
    assert done("exec", ident, "--", "cat", input=b"not given") == ""


def test_a_tree_is_pushed_and_snapshots_bring_it_back(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    ident = done("create", "debian:12", "--id-only").strip()
    assert "to /workspace/app" in done("sync", "push", ident, str(repo), "--dest", "app")
    assert "snapshot pushed" in done("snapshot", "create", ident, "pushed")
    assert [line.split()[0] for line in done("snapshot", "list", ident).splitlines()] == [
        "SNAPSHOT",
        "baseline",
        "pushed",
    ]
    done("exec", ident, "--", "rm -rf app")
    done("reset", ident, "--snapshot", "pushed")
    assert "run-tests" in done("exec", ident, "--", "ls app")
    assert done("snapshot", "delete", ident, "pushed").startswith("deleted snapshot pushed")
    assert ws("snapshot", "delete", ident, "baseline").returncode == 1
    done("reset", ident)
    assert done("exec", ident, "--", "ls") == ""


def test_a_stopped_workspace_is_as_it_was_and_starts_by_itself() -> None:
    ident = done("create", "debian:12", "--id-only").strip()
    done("exec", ident, "--", "echo kept > f; echo kept > /root/f")
    assert done("stop", ident) == f"stopped {ident}\n"
    assert "stop reason: user" in done("status", ident)
    assert done("exec", ident, "--", "cat f /root/f") == "kept\nkept\n"
    assert ws_json("status", ident)["state"] == "started"


def test_a_workspace_gets_and_loses_its_name_and_labels() -> None:
    ident = done("create", "debian:12", "--id-only").strip()
    named = ws_json("update", ident, "--name", "n", "--label", "a=1", "--label", "b=2=3")
    assert (named["name"], named["labels"]) == ("n", {"a": "1", "b": "2=3"})
    bare = ws_json("update", "n", "--clear-name", "--clear-label", "a")
    assert (bare["name"], bare["labels"]) == (None, {"b": "2=3"})
    assert ws("status", "n").returncode == 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("create", "debian:12", "--label", "a"), 2, "--label is 'a'"),
        (("create", "debian:12", "--network-policy", "all"), 2, "--network-policy is 'all'"),
        (("exec", "nobody", "--", "true"), 125, "there is no workspace 'nobody'"),
        (("status", "nobody"), 1, "there is no workspace 'nobody'"),
        (("file", "write", "nobody", "x"), 2, "--text"),
        (("file", "rad", "nobody", "x"), 2, "has no command 'rad'"),
    ],
)
def test_what_can_not_be_done_is_said_with_what_to_do(words: tuple[str, ...], status: int, message: str) -> None:
    refused = ws(*words)
    assert refused.returncode == status, refused.stderr
    assert message in refused.stderr.decode()
    assert b"hint:" in refused.stderr
