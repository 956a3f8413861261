"""Made-up results of operations on workspaces, to test how surfaces show them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pyro_mcp.operations.workspaces.commands import LoggedCommand, WorkspaceExecResult, WorkspaceLogsResult
from pyro_mcp.operations.workspaces.files import FileReadResult, FileWriteResult
from pyro_mcp.operations.workspaces.lifecycle import (
    NoteResult,
    SeedResult,
    WorkspaceEntry,
    WorkspaceListResult,
    WorkspaceResult,
)
from pyro_mcp.operations.workspaces.review import DiffCounts, DiffFileResult, DiffResult

WORKSPACE_ID = "ws_" + "a" * 20
_AT = "2026-09-21T10:00:00.000Z"
_COMMAND: dict[str, Any] = {
    "sequence": 2,
    "command": "true",
    "cwd": "/workspace",
    "exit_code": 0,
    "timed_out": False,
    "oom_killed": False,
    "duration_ms": 12,
    "stdout": "",
    "stderr": "",
    "stdout_size_bytes": 0,
    "stderr_size_bytes": 0,
    "stdout_truncated": False,
    "stderr_truncated": False,
}


def seed(**changed: Any) -> SeedResult:
    facts: dict[str, Any] = {
        "mode": "directory",
        "seed_path": "/src/app",
        "destination": "/workspace",
        "entry_count": 12,
        "bytes_written": 1024,
        "origin_kind": "manual_seed_path",
        "origin_ref": None,
        "skipped_count": 1,
        "skipped": (NoteResult("run/sock\x1b[2J", "a socket"),),
        "changed_count": 0,
        "ignored_count": 0,
        "ignored_bytes": 0,
        "largest_ignored": [],
        "notes": [],
        "changed": (),
    }
    return SeedResult(**{**facts, **changed})


def workspace(**changed: Any) -> WorkspaceResult:
    facts: dict[str, Any] = {
        "workspace_id": WORKSPACE_ID,
        "name": "mend",
        "labels": {"a": "1"},
        "environment": "debian:12",
        "state": "started",
        "stop_reason": None,
        "execution_mode": "guest_virtio_serial",
        "isolation": "tcg",
        "vcpu_count": 1,
        "mem_mib": 1024,
        "network_policy": "off",
        "network_enabled": False,
        "allow_host_compat": False,
        "guest_ip": None,
        "workspace_path": "/workspace",
        "last_command": None,
        "secrets": (),
        "ca_certificates": (),
        "workspace_seed": seed(),
        "ttl_seconds": 3600,
        "created_at": _AT,
        "expires_at": _AT,
        "last_activity_at": _AT,
        "reset_count": 0,
        "last_reset_at": None,
        "service_count": 0,
        "running_service_count": 0,
        "command_count": 0,
        "last_error": "",
        "allow_hosts": (),
        "deny_hosts": (),
    }
    return WorkspaceResult(**{**facts, **changed})


def exec_result(**changed: Any) -> WorkspaceExecResult:
    facts: dict[str, Any] = {
        **_COMMAND,
        "workspace_id": WORKSPACE_ID,
        "environment": "debian:12",
        "execution_mode": "guest_virtio_serial",
        "isolation": "tcg",
        "network_refused": (),
        "network_hint": "",
    }
    return WorkspaceExecResult(**{**facts, **changed})


def logged(**changed: Any) -> LoggedCommand:
    facts: dict[str, Any] = {
        **_COMMAND,
        "execution_mode": "guest_virtio_serial",
        "started_at": _AT,
        "recorded_at": _AT,
        "error": "",
    }
    return LoggedCommand(**{**facts, **changed})


def logs(*commands: LoggedCommand) -> WorkspaceLogsResult:
    return WorkspaceLogsResult(WORKSPACE_ID, len(commands), list(commands))


def file_read(content: str, **changed: Any) -> FileReadResult:
    facts: dict[str, Any] = {
        "workspace_id": WORKSPACE_ID,
        "path": "/workspace/x",
        "size_bytes": len(content.encode()),
        "max_bytes": 65536,
        "offset": 0,
        "mode": "0644",
        "content": content,
        "truncated": False,
    }
    return FileReadResult(**{**facts, **changed})


def file_written() -> FileWriteResult:
    return FileWriteResult(WORKSPACE_ID, "/workspace/x", 4, 4, created=False, mode="0644")


def diff_file(path: str, **changed: Any) -> DiffFileResult:
    facts: dict[str, Any] = {
        "path": path,
        "status": "modified",
        "artifact_type": "file",
        "text_patch": None,
        "patched": True,
        "reason": "",
        "ignored": False,
        "moved_from": None,
        "added_lines": 1,
        "removed_lines": 1,
        "old_kind": "file",
        "new_kind": "file",
        "old_mode": "0644",
        "new_mode": "0644",
        "old_size_bytes": 2,
        "new_size_bytes": 2,
        "old_target": None,
        "new_target": None,
    }
    return DiffFileResult(**{**facts, **changed})


def diff(**changed: Any) -> DiffResult:
    facts: dict[str, Any] = {
        "workspace_id": WORKSPACE_ID,
        "missing_count": 0,
        "missing": (),
        "changed": True,
        "ignored_count": 0,
        "changed_rule_count": 0,
        "ignored": (),
        "host_hook_count": 0,
        "host_hooks": (),
        "summary": DiffCounts(2, 1, 1, 0, 0, 1, 0, 1),
        "entries": (diff_file("a"), diff_file("logo.png", status="added", patched=False, reason="not text")),
        "truncated": False,
        "patch_prefix": "",
        "patch_base64": None,
        "patch": "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\r\n+2\r\n",
    }
    return DiffResult(**{**facts, **changed})


def workspaces(*made: WorkspaceResult) -> WorkspaceListResult:
    """Return a list of these workspaces."""
    entries = [WorkspaceEntry(**{each.name: one[each.name] for each in fields(WorkspaceEntry)}) for one in made]
    return WorkspaceListResult(len(entries), entries)
