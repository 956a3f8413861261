"""The methods of `Pyro` on workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.calling import Calling, as_command, as_pairs, as_path, as_records, as_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    from pyro_mcp.operations.workspaces.review import DiffResult, ExportResult, SummaryResult
    from pyro_mcp.operations.workspaces.snapshots import SnapshotDeleteResult, SnapshotListResult, SnapshotResult
    from pyro_mcp.operations.workspaces.values import WorkspaceDeleteResult, WorkspaceListResult, WorkspaceResult


class Workspaces(Calling):
    """Workspaces: virtual machines whose /workspace stays.

    Wherever a `workspace_id` is taken, so are a workspace's name and the beginning of its id.
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
    ) -> WorkspaceResult:
        """Create and start a workspace; /workspace starts as a copy of `seed_path`."""
        from pyro_mcp.operations.workspaces import lifecycle

        request = lifecycle.WorkspaceCreateRequest(
            environment=environment,
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            ttl_seconds=ttl_seconds,
            network_policy=network_policy,
            allow_host_compat=allow_host_compat,
            require_kvm=require_kvm,
            seed_path=None if seed_path is None else as_path(seed_path),
            secrets=as_records(secrets),
            name=name,
            labels=as_pairs(labels),
        )
        return self._do(lifecycle.WORKSPACE_CREATE, request)

    def list_workspaces(self) -> WorkspaceListResult:
        """List workspaces, most recently active first."""
        from pyro_mcp.operations.workspaces import lifecycle

        return self._do(lifecycle.WORKSPACE_LIST, lifecycle.WorkspaceListRequest())

    def update_workspace(
        self,
        workspace_id: str,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: Mapping[str, str] | None = None,
        clear_labels: Sequence[str] | None = None,
    ) -> WorkspaceResult:
        """Change the name or labels of a workspace; labels that are not mentioned are kept."""
        from pyro_mcp.operations.workspaces import lifecycle

        request = lifecycle.WorkspaceUpdateRequest(
            workspace_id=workspace_id,
            name=name,
            clear_name=clear_name,
            labels=as_pairs(labels),
            clear_labels=as_texts(clear_labels),
        )
        return self._do(lifecycle.WORKSPACE_UPDATE, request)

    def status_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Show a workspace."""
        from pyro_mcp.operations.workspaces import lifecycle

        return self._do(lifecycle.WORKSPACE_STATUS, lifecycle.WorkspaceRequest(workspace_id=workspace_id))

    def stop_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Stop a workspace; everything in it is kept."""
        from pyro_mcp.operations.workspaces import lifecycle

        return self._do(lifecycle.WORKSPACE_STOP, lifecycle.WorkspaceRequest(workspace_id=workspace_id))

    def start_workspace(self, workspace_id: str) -> WorkspaceResult:
        """Start a stopped workspace. Operations that need it running start it by themselves."""
        from pyro_mcp.operations.workspaces import lifecycle

        return self._do(lifecycle.WORKSPACE_START, lifecycle.WorkspaceRequest(workspace_id=workspace_id))

    def delete_workspace(self, workspace_id: str) -> WorkspaceDeleteResult:
        """Delete a workspace and everything in it."""
        from pyro_mcp.operations.workspaces import lifecycle

        return self._do(lifecycle.WORKSPACE_DELETE, lifecycle.WorkspaceRequest(workspace_id=workspace_id))

    def exec_workspace(
        self,
        workspace_id: str,
        *,
        command: str | Sequence[str],
        timeout_seconds: int = 30,
        secret_env: Mapping[str, str] | None = None,
    ) -> WorkspaceExecResult:
        """Run a command in a workspace. A string is run by the shell, a list without one."""
        from pyro_mcp.operations.workspaces import commands

        request = commands.WorkspaceExecRequest(
            workspace_id=workspace_id,
            command=as_command(command),
            timeout_seconds=timeout_seconds,
            secret_env=as_pairs(secret_env),
        )
        return self._do(commands.WORKSPACE_EXEC, request)

    def logs_workspace(self, workspace_id: str, *, seq: int | None = None, offset: int = 0) -> WorkspaceLogsResult:
        """Show the commands that were run; with `seq`, that one and all its output that is kept."""
        from pyro_mcp.operations.workspaces import commands

        request = commands.WorkspaceLogsRequest(workspace_id=workspace_id, seq=seq, offset=offset)
        return self._do(commands.WORKSPACE_LOGS, request)

    def push_workspace_sync(
        self, workspace_id: str, source_path: str | PathLike[str], *, dest: str = "/workspace"
    ) -> SyncPushResult:
        """Push a directory or archive of this host into a workspace."""
        from pyro_mcp.operations.workspaces import files

        request = files.SyncPushRequest(workspace_id=workspace_id, source_path=as_path(source_path), dest=dest)
        return self._do(files.SYNC_PUSH, request)

    def list_workspace_files(
        self, workspace_id: str, *, path: str = "/workspace", recursive: bool = False
    ) -> FileListResult:
        """List a directory of a workspace."""
        from pyro_mcp.operations.workspaces import files

        request = files.FileListRequest(workspace_id=workspace_id, path=path, recursive=recursive)
        return self._do(files.FILE_LIST, request)

    def read_workspace_file(
        self, workspace_id: str, path: str, *, max_bytes: int = 65536, offset: int = 0
    ) -> FileReadResult:
        """Read a text file of a workspace."""
        from pyro_mcp.operations.workspaces import files

        request = files.FileReadRequest(workspace_id=workspace_id, path=path, max_bytes=max_bytes, offset=offset)
        return self._do(files.FILE_READ, request)

    def write_workspace_file(self, workspace_id: str, path: str, *, text: str) -> FileWriteResult:
        """Write a text file of a workspace, whole."""
        from pyro_mcp.operations.workspaces import files

        request = files.FileWriteRequest(workspace_id=workspace_id, path=path, text=text)
        return self._do(files.FILE_WRITE, request)

    def apply_workspace_patch(self, workspace_id: str, *, patch: str) -> PatchApplyResult:
        """Apply a unified diff: all of it, or nothing."""
        from pyro_mcp.operations.workspaces import files

        request = files.PatchApplyRequest(workspace_id=workspace_id, patch=patch)
        return self._do(files.PATCH_APPLY, request)

    def diff_workspace(
        self, workspace_id: str, *, path: str = "/workspace", include_host_hooks: bool = False
    ) -> DiffResult:
        """Compare a workspace with its baseline."""
        from pyro_mcp.operations.workspaces import review

        request = review.DiffRequest(workspace_id=workspace_id, path=path, include_host_hooks=include_host_hooks)
        return self._do(review.WORKSPACE_DIFF, request)

    def summarize_workspace(self, workspace_id: str) -> SummaryResult:
        """Summarise on one page what happened in a workspace since it was created or last reset."""
        from pyro_mcp.operations.workspaces import review

        request = review.SummaryRequest(workspace_id=workspace_id)
        return self._do(review.WORKSPACE_SUMMARY, request)

    def export_workspace(
        self, workspace_id: str, path: str, *, output_path: str | PathLike[str], include_host_hooks: bool = False
    ) -> ExportResult:
        """Copy a file or directory out of a workspace, to a new path."""
        from pyro_mcp.operations.workspaces import review

        request = review.ExportRequest(
            workspace_id=workspace_id,
            path=path,
            output_path=as_path(output_path),
            include_host_hooks=include_host_hooks,
        )
        return self._do(review.WORKSPACE_EXPORT, request)

    def create_snapshot(self, workspace_id: str, snapshot_name: str) -> SnapshotResult:
        """Take a named snapshot of /workspace."""
        from pyro_mcp.operations.workspaces import snapshots

        request = snapshots.SnapshotRequest(workspace_id=workspace_id, snapshot_name=snapshot_name)
        return self._do(snapshots.SNAPSHOT_CREATE, request)

    def list_snapshots(self, workspace_id: str) -> SnapshotListResult:
        """List the snapshots of a workspace, the baseline first."""
        from pyro_mcp.operations.workspaces import snapshots

        request = snapshots.WorkspaceRequest(workspace_id=workspace_id)
        return self._do(snapshots.SNAPSHOT_LIST, request)

    def delete_snapshot(self, workspace_id: str, snapshot_name: str) -> SnapshotDeleteResult:
        """Delete a snapshot; the workspace stays as it is."""
        from pyro_mcp.operations.workspaces import snapshots

        request = snapshots.SnapshotRequest(workspace_id=workspace_id, snapshot_name=snapshot_name)
        return self._do(snapshots.SNAPSHOT_DELETE, request)

    def reset_workspace(self, workspace_id: str, *, snapshot: str = "baseline") -> WorkspaceResult:
        """Discard everything in a workspace and start over with the baseline or a snapshot."""
        from pyro_mcp.operations.workspaces import snapshots

        request = snapshots.ResetRequest(workspace_id=workspace_id, snapshot=snapshot)
        return self._do(snapshots.WORKSPACE_RESET, request)

    def export_workspace_disk(self, workspace_id: str, *, output_path: str | PathLike[str]) -> DiskExportResult:
        """Write a stopped workspace's whole root file system as one ext4 image."""
        from pyro_mcp.operations.workspaces import disks

        request = disks.DiskExportRequest(workspace_id=workspace_id, output_path=as_path(output_path))
        return self._do(disks.DISK_EXPORT, request)

    def list_workspace_disk(self, workspace_id: str, *, path: str = "/", recursive: bool = False) -> DiskListResult:
        """List a directory anywhere in a stopped workspace."""
        from pyro_mcp.operations.workspaces import disks

        request = disks.DiskListRequest(workspace_id=workspace_id, path=path, recursive=recursive)
        return self._do(disks.DISK_LIST, request)

    def read_workspace_disk(self, workspace_id: str, path: str, *, max_bytes: int = 65536) -> DiskReadResult:
        """Read a text file anywhere in a stopped workspace."""
        from pyro_mcp.operations.workspaces import disks

        request = disks.DiskReadRequest(workspace_id=workspace_id, path=path, max_bytes=max_bytes)
        return self._do(disks.DISK_READ, request)
