"""Opening a shell in a workspace.

Owns what a shell finds around it. Refuses to keep a record of it: the guest is what has shells, and they end with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.model.ids import new_shell_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.workspace.sh_guest import shells_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.agent.shells import ShellInfo
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.sh_guest import ShellsUse

WORKSPACE = "/workspace"
DEFAULT_COLS, DEFAULT_ROWS = 120, 30
# On the host itself, the shell's home is the workspace: a history would be one of its files.
_ON_HOST = {"HISTFILE": ""}


@dataclass(frozen=True, slots=True)
class ShellSpec:
    """What a shell is to be like. `secret_env` has the variables that are to hold secrets, by the secret's name."""

    cwd: str = WORKSPACE
    cols: int = DEFAULT_COLS
    rows: int = DEFAULT_ROWS
    secret_env: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class OpenedShell:
    """A shell that runs."""

    workspace_id: str
    info: ShellInfo
    execution_mode: ExecutionMode
    isolation: Isolation


def open_shell(engine: Engine, handle: str, spec: ShellSpec) -> OpenedShell:
    """Open a shell, in a workspace that is started for it if need be.

    Raises:
        PyroError: NOT_FOUND if the directory is not there; CONFLICT if there are too many; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True, starts=True) as use:
        return open_in(engine, use, spec)


def open_in(engine: Engine, use: ShellsUse, spec: ShellSpec) -> OpenedShell:
    """Open a shell in a guest that is being used."""
    variables = dict(use.guest.vm.variables)
    if use.workspace.is_host_compat:
        variables |= _ON_HOST
    if spec.secret_env:
        from pyro_mcp.workspace.secrets.keeping import secret_variables

        variables |= secret_variables(engine.paths, use.workspace, spec.secret_env)
    info = use.shells.open(new_shell_id(), cwd=spec.cwd, cols=spec.cols, rows=spec.rows, env=variables)
    vm, machine = use.guest.vm, use.guest.machine.record
    return OpenedShell(
        use.workspace.id,
        info,
        vm.execution_mode or ExecutionMode.of(machine.kind),
        vm.isolation or Isolation.of(machine.accelerator),
    )
