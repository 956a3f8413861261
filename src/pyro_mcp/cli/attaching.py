"""`pyro workspace shell attach`: the exit status is the shell's own, or 0 if it keeps running."""

from __future__ import annotations

import os

from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import STDIN, STDOUT, say
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.runner import Runner

_CONTROL_BITS = 0x1F


def attach(workspace_id: str, shell_id: str | None, detach_key: str) -> int:
    """Put this process's terminal to a shell; return the exit status."""
    if not os.isatty(STDIN) or not os.isatty(STDOUT):
        raise UsageError(
            "stdin and stdout must be a terminal",
            hint="Without a terminal use: pyro workspace shell open, write and read.",
        )
    from pyro_mcp.workspace.shells.attach import attach_shell
    from pyro_mcp.workspace.shells.person import PersonTerminal

    key = ord(detach_key[-1].upper()) & _CONTROL_BITS

    def begin(shell: str) -> None:
        say(f"[attach] shell_id={shell}; {detach_key.capitalize()} detaches")

    with interruptible(), engine(Runner().call()) as using:
        ended = attach_shell(
            using, workspace_id, shell_id, PersonTerminal(STDIN, STDOUT), detach_key=key, on_begin=begin
        )
    if ended.exit_code is None:
        say(f"[attach] detached; to reattach: pyro workspace shell attach {workspace_id} {ended.shell_id}")
        return 0
    say(f"[attach] {ended.shell_id} has exited with {ended.exit_code}")
    return ended.exit_code
