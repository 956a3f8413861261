"""The lines with the facts of a command on a workspace."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from pyro_mcp.cli.output.status_lines import LINES, show_status_line
from pyro_mcp.operations.table import all_operations

ROWS = {row.name: row for row in all_operations()}


@pytest.mark.parametrize("operation", LINES)
def test_every_fact_of_a_line_is_a_field_of_the_result(operation: str) -> None:
    for fact in LINES[operation][1].split():
        kind: Any = ROWS[operation].result
        for part in fact.rpartition("=")[2].split("."):
            kind = get_type_hints(kind)[part]


def test_a_line_has_names_values_and_ports_and_leaves_out_what_is_unknown(capfd: pytest.CaptureFixture[str]) -> None:
    port = {"host": "127.0.0.1", "host_port": 18080, "guest_port": 8080, "protocol": "tcp"}
    service = {"workspace_id": "w", "service_name": "web", "state": "running", "cwd": "/workspace/a\nb"}
    logs = {**service, "execution_mode": None, "published_ports": [port], "log_bytes": 3, "truncated": True}
    show_status_line("service_logs", logs)
    assert capfd.readouterr().err == (
        "[workspace-service-logs] workspace_id=w service_name=web state=running cwd=/workspace/a\\nb"
        " published_ports=127.0.0.1:18080->8080/tcp log_bytes=3 truncated=yes\n"
    )
    show_status_line("workspace_list", {})
    assert capfd.readouterr().err == ""
