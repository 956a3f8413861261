"""Which host paths a caller over MCP may touch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.host_access import HostAccess, host_access
from pyro_mcp.operations.project import Project
from pyro_mcp.operations.workspaces.disks import DiskExportRequest
from pyro_mcp.operations.workspaces.files import SyncPushRequest
from pyro_mcp.operations.workspaces.lifecycle import WorkspaceCreateRequest
from pyro_mcp.operations.workspaces.review import ExportRequest
from pyro_mcp.trees.source import checkout_around

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "src").mkdir()
    return project


def refusal(call: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        call()
    assert caught.value.code is ErrorCode.PERMISSION
    return caught.value


def test_the_working_directory_counts_only_in_a_checkout(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert host_access(()).roots == ()
    assert host_access((), Project(project)).roots == (project,)
    monkeypatch.chdir(project / "src")
    assert host_access(()).roots == (project,)
    assert host_access([tmp_path], Project(tmp_path / "other")).roots == (tmp_path / "other", project, tmp_path)
    with pytest.raises(PyroError, match="is not a directory"):
        host_access([tmp_path / "missing"])


@pytest.mark.parametrize("home", [".", "inner/home"])
def test_a_checkout_that_holds_the_home_directory_is_no_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (project / home).mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("HOME", str(project / home))
    assert checkout_around(project) is None
    assert checkout_around(project / "src") is None


def test_requests_with_paths_below_the_project_pass_and_become_absolute(project: Path) -> None:
    access = HostAccess((project,))
    pushed = access.applied(SyncPushRequest(workspace_id="w", source_path="src"))
    assert pushed.source_path == str(project / "src")
    exported = access.applied(ExportRequest(workspace_id="w", path=".", output_path="out/new/x"))
    assert exported.output_path == str(project / "out/new/x")
    assert access.applied(WorkspaceCreateRequest(environment="debian:12")).seed_path is None


def test_every_other_path_is_refused_with_the_flag_that_helps(project: Path, tmp_path: Path) -> None:
    access = HostAccess((project,))
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    (project / "link").symlink_to(tmp_path)
    secret = ({"name": "A", "file_path": str(tmp_path / "secret")},)
    requests: tuple[object, ...] = (
        WorkspaceCreateRequest(environment="debian:12", seed_path=str(tmp_path)),
        WorkspaceCreateRequest(environment="debian:12", seed_path="/"),
        WorkspaceCreateRequest(environment="debian:12", seed_path="link"),
        WorkspaceCreateRequest(environment="debian:12", secrets=secret),
        SyncPushRequest(workspace_id="w", source_path="../secret"),
        SyncPushRequest(workspace_id="w", source_path="link/secret"),
        ExportRequest(workspace_id="w", path=".", output_path=str(tmp_path / "out")),
        ExportRequest(workspace_id="w", path=".", output_path="../project2/out"),
        ExportRequest(workspace_id="w", path=".", output_path="."),
        DiskExportRequest(workspace_id="w", output_path="/etc/x"),
    )
    for request in requests:
        error = refusal(lambda each=request: access.applied(each))
        assert "may not use" in error.message
        assert "--allow-path" in error.hint
        assert str(project) in error.hint
    assert "outside a git checkout" in refusal(lambda: HostAccess(()).source("/etc")).hint


def test_links_inside_the_project_are_followed_to_read_and_never_to_write(project: Path) -> None:
    access = HostAccess((project,))
    (project / "link").symlink_to("src")
    assert access.source("link") == project / "link"
    assert "leads through a symbolic link" in refusal(lambda: access.output("link/out")).message


def test_a_root_that_is_itself_behind_a_link_can_be_named_either_way(project: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(project)
    access = HostAccess((tmp_path / "alias",))
    for given in (tmp_path / "alias/out", project / "out"):
        assert access.output(str(given)) == project / "out"


@pytest.mark.parametrize(
    "name",
    [
        ".git/hooks/pre-commit", ".git/config", ".envrc", ".vscode/tasks.json", ".claude/settings.json", ".bashrc",
        "home/.profile", "home/.ssh/authorized_keys", "authorized_keys", ".config/fish/config.fish", ".zshenv",
        ".config/autostart/x.desktop", ".local/bin/x", ".mcp.json", ".husky", ".npmrc",
    ],
)  # fmt: skip
def test_nothing_that_a_host_tool_would_run_is_written(project: Path, name: str) -> None:
    (project / os.path.dirname(name)).mkdir(parents=True, exist_ok=True)
    access = HostAccess((project,))
    assert "would run it automatically" in refusal(lambda: access.output(name)).message


def test_a_checkout_among_an_agents_own_files_is_a_project(project: Path) -> None:
    worktree = project / ".claude/worktrees/fix"
    worktree.mkdir(parents=True)
    assert HostAccess((project,)).output(".claude/worktrees/fix/out") == worktree / "out"
