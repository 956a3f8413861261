"""The methods of `Pyro` on services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.calling import Calling, as_command, as_pairs, as_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.operations.workspaces.services import ServiceListResult, ServiceLogsResult, ServiceResult


class Services(Calling):
    """Services in workspaces: commands that run on, until they end or are stopped."""

    def start_service(
        self,
        workspace_id: str,
        name: str,
        *,
        command: str | Sequence[str],
        cwd: str = "/workspace",
        readiness: Mapping[str, str] | None = None,
        ready_timeout_seconds: int = 30,
        ready_interval_ms: int = 500,
        secret_env: Mapping[str, str] | None = None,
        published_ports: Sequence[str] | None = None,
    ) -> ServiceResult:
        """Start a service and wait until it is ready: `readiness` is such as {"tcp": "127.0.0.1:8080"}."""
        from pyro_mcp.operations.workspaces import services

        request = services.ServiceStartRequest(
            workspace_id=workspace_id,
            name=name,
            command=as_command(command),
            cwd=cwd,
            readiness=as_pairs(readiness),
            ready_timeout_seconds=ready_timeout_seconds,
            ready_interval_ms=ready_interval_ms,
            secret_env=as_pairs(secret_env),
            published_ports=as_texts(published_ports),
        )
        return self._do(services.SERVICE_START, request)

    def list_services(self, workspace_id: str) -> ServiceListResult:
        """List the services of a workspace."""
        from pyro_mcp.operations.workspaces import services

        request = services.ServiceListRequest(workspace_id=workspace_id)
        return self._do(services.SERVICE_LIST, request)

    def status_service(self, workspace_id: str, name: str) -> ServiceResult:
        """Show a service."""
        from pyro_mcp.operations.workspaces import services

        request = services.ServiceRequest(workspace_id=workspace_id, name=name)
        return self._do(services.SERVICE_STATUS, request)

    def logs_service(
        self,
        workspace_id: str,
        name: str,
        *,
        tail_lines: int = 200,
        all: bool = False,  # noqa: A002 - the contract's
    ) -> ServiceLogsResult:
        """Show what a service wrote: its last lines, or all that is kept."""
        from pyro_mcp.operations.workspaces import services

        request = services.ServiceLogsRequest(workspace_id=workspace_id, name=name, tail_lines=tail_lines, all=all)
        return self._do(services.SERVICE_LOGS, request)

    def stop_service(self, workspace_id: str, name: str) -> ServiceResult:
        """Stop a service, with all that it started, and its published ports."""
        from pyro_mcp.operations.workspaces import services

        request = services.ServiceRequest(workspace_id=workspace_id, name=name)
        return self._do(services.SERVICE_STOP, request)
