"""The line on stderr with the facts of a command on a workspace: `[workspace-VERB] name=value …`.

Scripts read them: names and their order are those of earlier versions, and facts are added at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.cli.streams import say
from pyro_mcp.operations.printable import printable_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL = "workspace_id shell_id state cwd cols rows execution_mode"
_SERVICE = "workspace_id service_name state cwd execution_mode published_ports"
# By operation: the verb, and the facts. A fact is named after the field that has it, which may be in another field.
LINES = {
    "workspace_exec": ("exec", "workspace_id sequence cwd execution_mode exit_code duration_ms"),
    "workspace_sync_push": (
        "sync",
        (
            "workspace_id workspace_sync.mode source=workspace_sync.source_path workspace_sync.destination"
            " workspace_sync.entry_count workspace_sync.bytes_written"
        ),
    ),
    "workspace_export": ("export", "workspace_id workspace_path output_path artifact_type entry_count bytes_written"),
    "workspace_diff": (
        "diff",
        (
            "workspace_id summary.total summary.added summary.modified summary.deleted summary.type_changed"
            " summary.text_patched summary.non_text ignored=ignored_count"
        ),
    ),
    "workspace_file_read": ("file-read", "workspace_id path size_bytes truncated"),
    "workspace_file_write": ("file-write", "workspace_id path bytes_written"),
    "workspace_patch_apply": (
        "patch",
        "workspace_id summary.total summary.added summary.modified summary.deleted",
    ),
    "workspace_disk_export": ("disk-export", "workspace_id output_path disk_format bytes_written"),
    "workspace_disk_read": ("disk-read", "workspace_id path size_bytes truncated"),
    "snapshot_create": (
        "snapshot-create",
        "workspace_id snapshot.snapshot_name snapshot.kind snapshot.size_bytes",
    ),
    "shell_open": ("shell-open", _SHELL),
    "shell_write": ("shell-write", f"{_SHELL} cursor"),
    "shell_signal": ("shell-signal", _SHELL),
    "shell_close": ("shell-close", f"{_SHELL} exit_code"),
    "shell_read": (
        "shell-read",
        (
            "workspace_id shell_id state cursor next_cursor truncated plain wait_for_idle_ms execution_mode"
            " dropped_bytes exit_code"
        ),
    ),
    "service_start": ("service-start", _SERVICE),
    "service_status": ("service-status", _SERVICE),
    "service_stop": ("service-stop", _SERVICE),
    "service_logs": ("service-logs", f"{_SERVICE} log_bytes truncated"),
}


def show_status_line(operation: str, result: Mapping[str, object]) -> None:
    """Write the line of an operation's result to stderr, if it has one."""
    if operation in LINES:
        verb, facts = LINES[operation]
        say(" ".join([f"[workspace-{verb}]", *filter(None, (_fact(fact, result) for fact in facts.split()))]))


def _fact(fact: str, result: Mapping[str, object]) -> str:
    name, _, path = fact.rpartition("=")
    value: Any = result
    for part in path.split("."):
        value = value[part]
    if value is None or value == []:
        return ""
    return f"{name or path.rpartition('.')[2]}={_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        ports = cast("list[Mapping[str, object]]", value)
        return ",".join(
            f"{each['host']}:{each['host_port']}->{each['guest_port']}/{each['protocol']}" for each in ports
        )
    return printable_line(str(value))
