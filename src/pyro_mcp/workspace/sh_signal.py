"""Signalling what runs in a shell's foreground.

Owns the way there. Refuses to signal anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspace.sh_guest import shells_of

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellInfo, ShellSignal
    from pyro_mcp.workspace.engine import Engine


def signal_shell(engine: Engine, handle: str, shell_id: str, number: ShellSignal) -> tuple[str, ShellInfo]:
    """Signal the group of processes in the foreground, and return the workspace's id and the shell as it was then.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if the shell has exited; as `guest_of`.
    """
    with shells_of(engine, handle, activity=True) as use:
        return use.workspace.id, use.shells.signal(shell_id, number)
