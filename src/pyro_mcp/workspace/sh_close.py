"""Closing a shell.

Owns the way there: the guest ends all that the shell has started. Refuses to keep its output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.sh_guest import shells_of

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellInfo
    from pyro_mcp.workspace.engine import Engine


def close_shell(engine: Engine, handle: str, shell_id: str) -> tuple[str, ShellInfo]:
    """End a shell with all that it started, and return the workspace's id and how the shell ended.

    Raises:
        PyroError: NOT_FOUND; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True) as use:
        return use.workspace.id, use.shells.close(shell_id)
