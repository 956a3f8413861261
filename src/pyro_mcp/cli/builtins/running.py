"""`pyro ps`: the workspaces that are running."""

from __future__ import annotations

from dataclasses import replace

from pyro_mcp.cli.execution import present
from pyro_mcp.cli.parsing import Parsed
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.operations.operation import EmptyRequest
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.workspaces.lifecycle import WORKSPACE_LIST


def list_running(parsed: Parsed) -> int:
    """List the workspaces that are running; return the exit status."""
    found = Runner().run(WORKSPACE_LIST, EmptyRequest())
    running = tuple(each for each in found.workspaces if each.state == WorkspaceState.STARTED)
    return present(WORKSPACE_LIST, replace(found, count=len(running), workspaces=running), parsed)
