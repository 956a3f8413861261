"""`-q`: print only ids, of a list or of something created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.operations.printable import printable_line

if TYPE_CHECKING:
    from pyro_mcp.operations.operation import Result

# By operation: the field with the item or the list ("" for the result itself), and the field with the id.
IDS: dict[str, tuple[str, str]] = {
    "env_list": ("environments", "name"),
    "vm_list": ("vms", "vm_id"),
    "workspace_list": ("workspaces", "workspace_id"),
    "snapshot_list": ("snapshots", "snapshot_name"),
    "shell_list": ("shells", "shell_id"),
    "service_list": ("services", "service_name"),
    "workspace_file_list": ("entries", "path"),
    "workspace_disk_list": ("entries", "path"),
    "vm_create": ("", "vm_id"),
    "workspace_create": ("", "workspace_id"),
    "shell_open": ("", "shell_id"),
    "service_start": ("", "service_name"),
    "snapshot_create": ("snapshot", "snapshot_name"),
}


def quiet_help(operation: str) -> str:
    """Return the help of -q for an operation, "" if it has no ids to print."""
    items, name = IDS.get(operation, ("", ""))
    if not name:
        return ""
    shown = name.replace("snapshot_", "").replace("service_", "").replace("_", " ")
    return f"print the {shown}{'s' * items.endswith('s')} only"


def ids(operation: str, result: Result) -> str:
    """Return the ids in a result, one a line."""
    items, name = IDS[operation]
    found: Any = getattr(result, items) if items else result
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    return "\n".join(printable_line(str(getattr(each, name))) for each in listed)
