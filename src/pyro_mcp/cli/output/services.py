"""Output of the commands on services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.output.tables import facts, table
from pyro_mcp.cli.streams import put, put_alone, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.workspaces.services import (
        PublishedPortResult,
        ServiceListResult,
        ServiceLogsResult,
        ServiceResult,
    )


def _service(result: ServiceResult) -> None:
    output = result.get("last_output", "")
    if output:
        put_alone(output, ends_line=not output.endswith("\n"))
    put(facts({**result, "last_output": "", "published_ports": ", ".join(map(_port, result.published_ports))}))
    if result.stop_reason == "readiness_timeout":
        say("[start] --ready-timeout 2m, for example, waits longer")


def _list(result: ServiceListResult) -> None:
    if not result.services:
        put("no services")
        return
    rows = [
        (
            each.service_name,
            each.state,
            each.exit_code,
            each.ready_at,
            ", ".join(_port(port) for port in each.published_ports),
            each.command,
        )
        for each in result.services
    ]
    put(table(("SERVICE", "STATE", "EXIT", "READY", "PORTS", "COMMAND"), rows))


def _logs(result: ServiceLogsResult) -> None:
    if result.stdout:
        put_alone(result.stdout, ends_line=not result.stdout.endswith("\n"))


def _port(port: PublishedPortResult) -> str:
    return f"{port.host}:{port.host_port}->{port.guest_port}"


SHOWING: dict[str, Callable[[Any], None]] = {
    "service_start": _service,
    "service_list": _list,
    "service_status": _service,
    "service_logs": _logs,
    "service_stop": _service,
}
