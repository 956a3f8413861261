"""`pyro mcp serve`. The MCP server is imported only here: it takes most of a second to load."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from pyro_mcp.cli.streams import say
from pyro_mcp.operations.host_access import HostAccess, current_checkout, host_access
from pyro_mcp.operations.profiles import Profile, find_profile
from pyro_mcp.operations.project import described, find_project


def serve(
    profile: str | None,
    mode: str | None,
    allow_path: tuple[str, ...] | None,
    environment: str | None,
    network_policy: str | None,
    allow_hosts: tuple[str, ...] | None,
    deny_hosts: tuple[str, ...] | None,
    ca_file: tuple[str, ...] | None,
    project_path: str | None,
    repo_url: str | None,
    repo_ref: str | None,
    no_project_source: bool,
) -> int:
    """Serve MCP over stdio until the client goes away; return the exit status."""
    project = find_project(
        project_path=project_path, repo_url=repo_url, repo_ref=repo_ref, no_project_source=no_project_source,
        checkout=current_checkout(),
    )  # fmt: skip
    chosen = find_profile(profile, mode).serving(
        environment,
        project,
        network_policy,
        allow_hosts=allow_hosts or (),
        deny_hosts=deny_hosts or (),
        ca_files=ca_file or (),
    )
    access = host_access(allow_path or (), project)
    # By name, since surfaces do not know each other: this is where one starts the other.
    run = cast(
        "Callable[[Profile, HostAccess, Callable[[], object]], int]",
        import_module("pyro_mcp.mcp_server.serve").serve_stdio,
    )

    def report() -> None:
        found, hint = described(project, no_project_source=no_project_source)
        say(f"project source: {found}" + (f"\n{hint}" if hint else ""))

    return run(chosen, access, report)
