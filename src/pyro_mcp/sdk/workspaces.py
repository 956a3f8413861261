"""The methods of `Pyro` on workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.awaiting import awaited
from pyro_mcp.sdk.calling import Calling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from pyro_mcp.operations.workspaces.commands import WorkspaceExecResult, WorkspaceLogsResult
    from pyro_mcp.operations.workspaces.disks import DiskExportResult, DiskListResult, DiskReadResult
    from pyro_mcp.operations.workspaces.files import (
        FileListResult,
        FileReadResult,
        FileWriteResult,
        PatchApplyResult,
        SyncPushResult,
    )
    from pyro_mcp.operations.workspaces.lifecycle import WorkspaceDeleteResult, WorkspaceListResult, WorkspaceResult
    from pyro_mcp.operations.workspaces.network import NetworkLogResult, NetworkResult
    from pyro_mcp.operations.workspaces.review import DiffResult, ExportResult, SummaryResult
    from pyro_mcp.operations.workspaces.snapshots import (
        ResetResult,
        SnapshotDeleteResult,
        SnapshotListResult,
        SnapshotResult,
    )
    from pyro_mcp.sdk.calling import Stdin


class Workspaces(Calling):
    """Workspaces: virtual machines whose /workspace persists.

    A `workspace_id` may also be a workspace's name or the beginning of its id.
    """

    def create_workspace(
        self,
        environment: str,
        *,
        vcpu_count: int = 1,
        mem_mib: int = 1024,
        ttl_seconds: int = 3600,
        network_policy: str = "off",
        allow_host_compat: bool = False,
        seed_path: str | PathLike[str] | None = None,
        secrets: Sequence[Mapping[str, str]] | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        require_kvm: bool = False,
        include_ignored: bool = False,
        exclude: Sequence[str] | None = None,
        allow_hosts: Sequence[str] | None = None,
        deny_hosts: Sequence[str] | None = None,
        ca_files: Sequence[str | PathLike[str]] | None = None,
    ) -> WorkspaceResult:
        """Create and start a workspace; /workspace starts as a copy of `seed_path`.

        Example: `pyro.create_workspace("debian:12", seed_path=".", name="app").workspace_id`
        """
        return self._run("workspace create", locals())

    def list_workspaces(self) -> WorkspaceListResult:
        """List workspaces, most recently active first.

        Example: `[each.name for each in pyro.list_workspaces().workspaces]`
        """
        return self._run("workspace list")

    def update_workspace(
        self,
        workspace_id: str,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: Mapping[str, str] | None = None,
        clear_labels: Sequence[str] | None = None,
    ) -> WorkspaceResult:
        """Change the name or labels of a workspace; labels that are not mentioned are kept.

        Example: `pyro.update_workspace("app", labels={"ticket": "17"})`
        """
        return self._run("workspace update", locals())

    def status_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Show a workspace.

        Example: `pyro.status_workspace("app").state`
        """
        return self._run("workspace status", locals())

    def stop_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Stop a workspace; everything in it is kept.

        Example: `pyro.stop_workspace("app")`
        """
        return self._run("workspace stop", locals())

    def start_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Start a stopped workspace. Operations that need it running start it automatically.

        Example: `pyro.start_workspace("app")`
        """
        return self._run("workspace start", locals())

    def delete_workspace(self, workspace_id: str) -> WorkspaceDeleteResult:
        """Delete a workspace and everything in it.

        Example: `pyro.delete_workspace("app")`
        """
        return self._run("workspace delete", locals())

    def exec_workspace(
        self,
        workspace_id: str,
        *,
        command: str | Sequence[str],
        timeout_seconds: float | None = 30,
        secret_env: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        user: str | None = None,
        stdin: Stdin | None = None,
        merge_stderr: bool = False,
        max_output_bytes: int = 1048576,
        keep: str = "ends",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> WorkspaceExecResult:
        """Run a command in a workspace. A string is run by the shell, a list without one.

        Example: `pyro.exec_workspace("app", command="pytest -q", timeout_seconds=600, on_stdout=print).exit_code`
        """
        return self._run("workspace exec", locals())

    def logs_workspace(self, workspace_id: str, *, sequence: int | None = None, offset: int = 0) -> WorkspaceLogsResult:
        """Show the commands that were run; with `sequence`, only that one with all of its stored output.

        Example: `[each.exit_code for each in pyro.logs_workspace("app").entries]`
        """
        return self._run("workspace logs", locals())

    def push_workspace_sync(
        self, workspace_id: str, source_path: str | PathLike[str], *, dest: str = "/workspace"
    ) -> SyncPushResult:
        """Push a directory or archive of this host into a workspace.

        Example: `pyro.push_workspace_sync("app", "fixtures", dest="/workspace/fixtures")`
        """
        return self._run("workspace sync push", locals())

    def list_workspace_files(
        self, workspace_id: str, *, path: str = "/workspace", recursive: bool = False
    ) -> FileListResult:
        """List a directory of a workspace.

        Example: `pyro.list_workspace_files("app", path="src", recursive=True).entries`
        """
        return self._run("workspace file list", locals())

    def read_workspace_file(
        self, workspace_id: str, path: str, *, max_bytes: int = 65536, offset: int = 0
    ) -> FileReadResult:
        """Read a text file of a workspace.

        Example: `pyro.read_workspace_file("app", "src/app.py")`
        """
        return self._run("workspace file read", locals())

    def write_workspace_file(self, workspace_id: str, path: str, *, text: str) -> FileWriteResult:
        """Write a whole text file in a workspace.

        Example: `pyro.write_workspace_file("app", "notes.txt", text="a few words")`
        """
        return self._run("workspace file write", locals())

    def apply_workspace_patch(self, workspace_id: str, *, patch: str) -> PatchApplyResult:
        """Apply a unified diff: all of it, or nothing.

        Example: `pyro.apply_workspace_patch("app", patch=diff)`
        """
        return self._run("workspace patch apply", locals())

    def diff_workspace(
        self,
        workspace_id: str,
        *,
        path: str = "/workspace",
        include_ignored: bool = False,
        binary: bool = False,
        include_host_hooks: bool = False,
    ) -> DiffResult:
        """Compare a workspace with its baseline.

        Example: `pyro.diff_workspace("app", binary=True).patch_bytes`
        """
        return self._run("workspace diff", locals())

    def summarize_workspace(self, workspace_id: str, *, include_ignored: bool = False) -> SummaryResult:
        """Summarise on one page what happened in a workspace since it was created or last reset.

        Example: `pyro.summarize_workspace("app")`
        """
        return self._run("workspace summary", locals())

    def export_workspace(
        self,
        workspace_id: str,
        path: str,
        *,
        output_path: str | PathLike[str],
        include_ignored: bool = False,
        include_host_hooks: bool = False,
    ) -> ExportResult:
        """Copy a file or directory out of a workspace, to a new path.

        Example: `pyro.export_workspace("app", "dist", output_path="dist")`
        """
        return self._run("workspace export", locals())

    def show_workspace_network(self, workspace_id: str) -> NetworkResult:
        """Show a workspace's network policy, the hosts that it allows, and whether that is in effect.

        Example: `[each.host for each in pyro.show_workspace_network("app").effective]`
        """
        return self._run("workspace network show", locals())

    def set_workspace_network(
        self,
        workspace_id: str,
        *,
        network_policy: str,
        allow_hosts: Sequence[str] | None = None,
        deny_hosts: Sequence[str] | None = None,
    ) -> NetworkResult:
        """Replace a workspace's network policy and its hosts, also while it runs.

        Example: `pyro.set_workspace_network("app", network_policy="packages", allow_hosts=["*.example.org"])`
        """
        return self._run("workspace network set", locals())

    def allow_workspace_hosts(self, workspace_id: str, hosts: Sequence[str] | None) -> NetworkResult:
        """Allow hosts to a workspace, besides those of its policy.

        Example: `pyro.allow_workspace_hosts("app", ["api.example.org:443"])`
        """
        return self._run("workspace network allow", locals())

    def deny_workspace_hosts(self, workspace_id: str, hosts: Sequence[str] | None) -> NetworkResult:
        """Deny hosts to a workspace; connections to them end.

        Example: `pyro.deny_workspace_hosts("app", ["api.example.org"])`
        """
        return self._run("workspace network deny", locals())

    def read_workspace_network_log(self, workspace_id: str, *, since: int = 0, limit: int = 200) -> NetworkLogResult:
        """Show which hosts a workspace with a filtered network tried to reach.

        Example: `[each.host for each in pyro.read_workspace_network_log("app").entries if each.verdict == "refused"]`
        """
        return self._run("workspace network log", locals())

    def create_snapshot(self, workspace_id: str, snapshot_name: str, *, with_root: bool = False) -> SnapshotResult:
        """Take a named snapshot of /workspace, and of the root file system too if `with_root`.

        Example: `pyro.create_snapshot("app", "tests-pass")`
        """
        return self._run("workspace snapshot create", locals())

    def list_snapshots(self, workspace_id: str) -> SnapshotListResult:
        """List the snapshots of a workspace, the baseline first.

        Example: `pyro.list_snapshots("app").snapshots`
        """
        return self._run("workspace snapshot list", locals())

    def delete_snapshot(self, workspace_id: str, snapshot_name: str) -> SnapshotDeleteResult:
        """Delete a snapshot; the workspace is not changed.

        Example: `pyro.delete_snapshot("app", "tests-pass")`
        """
        return self._run("workspace snapshot delete", locals())

    def reset_workspace(self, workspace_id: str, *, snapshot: str = "baseline") -> ResetResult:
        """Discard everything in a workspace and start over with the baseline or a snapshot.

        Example: `pyro.reset_workspace("app", snapshot="tests-pass")`
        """
        return self._run("workspace reset", locals())

    def export_workspace_disk(self, workspace_id: str, *, output_path: str | PathLike[str]) -> DiskExportResult:
        """Write a stopped workspace's whole root file system as one ext4 image.

        Example: `pyro.export_workspace_disk("app", output_path="app.ext4")`
        """
        return self._run("workspace disk export", locals())

    def list_workspace_disk(
        self, workspace_id: str, *, path: str = "/workspace", recursive: bool = False
    ) -> DiskListResult:
        """List a directory anywhere in a stopped workspace.

        Example: `pyro.list_workspace_disk("app", path="/etc").entries`
        """
        return self._run("workspace disk list", locals())

    def read_workspace_disk(self, workspace_id: str, path: str, *, max_bytes: int = 65536) -> DiskReadResult:
        """Read a text file anywhere in a stopped workspace.

        Example: `pyro.read_workspace_disk("app", "/etc/os-release")`
        """
        return self._run("workspace disk read", locals())


class AsyncWorkspaces:
    """The same, to await."""

    create_workspace = awaited(Workspaces.create_workspace)
    list_workspaces = awaited(Workspaces.list_workspaces)
    update_workspace = awaited(Workspaces.update_workspace)
    status_workspace = awaited(Workspaces.status_workspace)
    stop_workspace = awaited(Workspaces.stop_workspace)
    start_workspace = awaited(Workspaces.start_workspace)
    delete_workspace = awaited(Workspaces.delete_workspace)
    exec_workspace = awaited(Workspaces.exec_workspace)
    logs_workspace = awaited(Workspaces.logs_workspace)
    push_workspace_sync = awaited(Workspaces.push_workspace_sync)
    list_workspace_files = awaited(Workspaces.list_workspace_files)
    read_workspace_file = awaited(Workspaces.read_workspace_file)
    write_workspace_file = awaited(Workspaces.write_workspace_file)
    apply_workspace_patch = awaited(Workspaces.apply_workspace_patch)
    diff_workspace = awaited(Workspaces.diff_workspace)
    summarize_workspace = awaited(Workspaces.summarize_workspace)
    export_workspace = awaited(Workspaces.export_workspace)
    show_workspace_network = awaited(Workspaces.show_workspace_network)
    set_workspace_network = awaited(Workspaces.set_workspace_network)
    allow_workspace_hosts = awaited(Workspaces.allow_workspace_hosts)
    deny_workspace_hosts = awaited(Workspaces.deny_workspace_hosts)
    read_workspace_network_log = awaited(Workspaces.read_workspace_network_log)
    create_snapshot = awaited(Workspaces.create_snapshot)
    list_snapshots = awaited(Workspaces.list_snapshots)
    delete_snapshot = awaited(Workspaces.delete_snapshot)
    reset_workspace = awaited(Workspaces.reset_workspace)
    export_workspace_disk = awaited(Workspaces.export_workspace_disk)
    list_workspace_disk = awaited(Workspaces.list_workspace_disk)
    read_workspace_disk = awaited(Workspaces.read_workspace_disk)
