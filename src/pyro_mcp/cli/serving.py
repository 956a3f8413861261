"""`pyro mcp serve`. The MCP server is imported only here: it takes most of a second to load."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from pyro_mcp.operations.host_access import host_access
from pyro_mcp.operations.profiles import find_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.profiles import Profile


def serve(profile: str | None, mode: str | None, allow_path: tuple[str, ...] | None) -> int:
    """Serve MCP over stdio until the client goes away; return the exit status."""
    chosen = find_profile(profile, mode)
    access = host_access(allow_path or ())
    # By name, since surfaces do not know each other: this is where one starts the other.
    run = cast("Callable[[Profile, HostAccess], int]", import_module("pyro_mcp.mcp_server.serve").serve_stdio)
    return run(chosen, access)
