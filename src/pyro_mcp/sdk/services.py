"""The methods of `Pyro` on services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.awaiting import awaited
from pyro_mcp.sdk.calling import Calling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.operations.workspaces.services import (
        ServiceListResult,
        ServiceLogsResult,
        ServiceResult,
        ServiceStartResult,
    )


class Services(Calling):
    """Services in workspaces: commands that keep running until they exit or are stopped."""

    def start_service(
        self,
        workspace_id: str,
        service_name: str,
        *,
        command: str | Sequence[str],
        cwd: str = "/workspace",
        readiness: Mapping[str, str | int] | None = None,
        ready_timeout_seconds: int = 30,
        ready_interval_ms: int = 500,
        secret_env: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        published_ports: Sequence[Mapping[str, int | None]] | None = None,
    ) -> ServiceStartResult:
        """Start a service and wait until it is ready, or has failed.

        `readiness` is such as {"type": "tcp", "address": "127.0.0.1:8080"}, `published_ports` such as
        [{"guest_port": 8080}].

        Example: `pyro.start_service("app", "web", command="python3 -m http.server 8080").state`
        """
        return self._run("workspace service start", locals())

    def list_services(self, workspace_id: str) -> ServiceListResult:
        """List the services of a workspace.

        Example: `[each.state for each in pyro.list_services("app").services]`
        """
        return self._run("workspace service list", locals())

    def status_service(self, workspace_id: str, service_name: str) -> ServiceResult:
        """Show a service.

        Example: `pyro.status_service("app", "web").state`
        """
        return self._run("workspace service status", locals())

    def logs_service(
        self,
        workspace_id: str,
        service_name: str,
        *,
        tail_lines: int = 200,
        all: bool = False,  # noqa: A002 - the contract's
    ) -> ServiceLogsResult:
        """Show a service's output: its last lines, or all of the stored log.

        Example: `pyro.logs_service("app", "web", tail_lines=20)`
        """
        return self._run("workspace service logs", locals())

    def stop_service(self, workspace_id: str, service_name: str) -> ServiceResult:
        """Stop a service and everything it started, and close its published ports.

        Example: `pyro.stop_service("app", "web")`
        """
        return self._run("workspace service stop", locals())


class AsyncServices:
    """The same, to await."""

    start_service = awaited(Services.start_service)
    list_services = awaited(Services.list_services)
    status_service = awaited(Services.status_service)
    logs_service = awaited(Services.logs_service)
    stop_service = awaited(Services.stop_service)
